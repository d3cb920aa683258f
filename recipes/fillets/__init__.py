"""Recipe for Fish Fillets, a game with Dutch and Czech actors: dialogues to manifests."""
