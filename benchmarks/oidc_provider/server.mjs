// The peer: a certified FAPI 2.0 authorization server with the grant, the client authentication and the binding that
// ours has, everything in memory. Takes a JSON file of its clients; prints its issuer once it listens.

import { generateKeyPairSync, randomBytes } from "node:crypto";
import { readFileSync } from "node:fs";
import { createServer } from "node:http";

import Provider from "oidc-provider";

const { scope, ttl_seconds, clients } = JSON.parse(readFileSync(process.argv[2], "utf8"));
const ES256 = ["ES256"];

const http = createServer();
await new Promise((listening) => http.listen(0, "127.0.0.1", listening));
const issuer = `http://127.0.0.1:${http.address().port}`;

const signing = generateKeyPairSync("ec", { namedCurve: "P-256" }).privateKey.export({ format: "jwk" });
const resource = {
  scope,
  audience: issuer,
  accessTokenTTL: ttl_seconds,
  accessTokenFormat: "jwt",
  jwt: { sign: { alg: "ES256" } },
};

const provider = new Provider(issuer, {
  routes: { token: "/oauth/token" },
  scopes: [scope],
  clients: clients.map(({ client_id, jwk }) => ({
    client_id,
    jwks: { keys: [jwk] },
    grant_types: ["client_credentials"],
    redirect_uris: [],
    response_types: [],
    scope,
    token_endpoint_auth_method: "private_key_jwt",
    token_endpoint_auth_signing_alg: "ES256",
    id_token_signed_response_alg: "ES256",
    dpop_bound_access_tokens: true,
  })),
  clientAuthMethods: ["private_key_jwt"],
  enabledJWA: { clientAuthSigningAlgValues: ES256, dPoPSigningAlgValues: ES256, idTokenSigningAlgValues: ES256 },
  cookies: { keys: [randomBytes(32).toString("hex")] },
  jwks: { keys: [{ ...signing, alg: "ES256", use: "sig" }] },
  features: {
    clientCredentials: { enabled: true },
    devInteractions: { enabled: false },
    dPoP: { enabled: true },
    fapi: { enabled: true, profile: "2.0" },
    resourceIndicators: {
      enabled: true,
      defaultResource: () => issuer,
      getResourceServerInfo: () => resource,
    },
  },
});

http.on("request", provider.callback());
console.log(issuer);
