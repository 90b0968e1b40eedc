"""How vendors are asked over the network: within a limit, again where it failed, page by page, each page kept."""
