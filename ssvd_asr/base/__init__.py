"""The frozen base model behind one interface (model.py), and the families of models that implement it.

Imports `mixing` and what lies below it. Importing this file loads neither torch nor ESPnet.
"""
