// A certified OpenID provider, everything in memory: whoever writes any password is who they say. Takes a JSON file of
// its clients; prints its issuer once it listens.

import { generateKeyPairSync, randomBytes } from "node:crypto";
import { readFileSync } from "node:fs";
import { createServer } from "node:http";

import Provider from "oidc-provider";

const clients = JSON.parse(readFileSync(process.argv[2], "utf8"));

const http = createServer();
await new Promise((listening) => http.listen(0, "127.0.0.1", listening));
const issuer = `http://127.0.0.1:${http.address().port}`;

const jwk = (kind, options) => generateKeyPairSync(kind, options).privateKey.export({ format: "jwk" });
const provider = new Provider(issuer, {
  clients,
  clientAuthMethods: ["private_key_jwt", "client_secret_basic"],
  cookies: { keys: [randomBytes(32).toString("hex")] },
  enabledJWA: { clientAuthSigningAlgValues: ["ES256"], idTokenSigningAlgValues: ["ES256", "RS256", "PS256"] },
  fetch: (url, { dispatcher, ...options }) => fetch(url, options), // our keys are on this machine
  jwks: {
    keys: [
      { ...jwk("ec", { namedCurve: "P-256" }), use: "sig" },
      { ...jwk("rsa", { modulusLength: 2048 }), use: "sig" },
    ],
  },
  features: {
    pushedAuthorizationRequests: {
      enabled: true,
      requirePushedAuthorizationRequests: clients.some((client) => client.require_pushed_authorization_requests),
    },
  },
  pkce: { required: () => true },
});

http.on("request", provider.callback());
console.log(issuer);
