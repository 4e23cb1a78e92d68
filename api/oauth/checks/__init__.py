"""One check per file; `api.oauth.pipeline` says which endpoint runs which."""
