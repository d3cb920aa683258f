"""The base model: an ESPnet S2T checkpoint, read strictly, frozen, and named by the digest of its content.

Light to import; the modules with torch and ESPnet in them are

    load.load_base      by name, hub tag, folder, or config + checkpoint
    model.BaseModel     network, tokens, window, digest, encode()
    network             an ESPnet network from a config.yaml, without ESPnet's task module
    ctc_network         OWSM-CTC, which has no decoder and takes no adapters
    export              back to a config.yaml + .pth that ESPnet's own Speech2Text loads
"""
