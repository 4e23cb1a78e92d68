// A partner's software made of public OAuth libraries: it is told the issuer and its own key, and finds out the rest.
// Usage: node call.mjs clients.json; prints one line of JSON for each client and library.
import { randomUUID } from "node:crypto";
import { readFileSync } from "node:fs";
import * as oauth from "oauth4webapi";
import * as openid from "openid-client";

const KEYS = {
  ES256: { name: "ECDSA", namedCurve: "P-256" },
  PS256: { name: "RSA-PSS", hash: "SHA-256" },
  Ed25519: { name: "Ed25519" },
};
const LOOPBACK = { [oauth.allowInsecureRequests]: true };

async function throughOauth4webapi({ issuer, client_id, jwk, alg, scope, body }) {
  const at = new URL(issuer);
  const discovered = await oauth.discoveryRequest(at, { algorithm: "oauth2", ...LOOPBACK });
  const server = await oauth.processDiscoveryResponse(at, discovered);
  const client = { client_id };
  const key = await crypto.subtle.importKey("jwk", jwk, KEYS[alg], false, ["sign"]);
  const DPoP = oauth.DPoP(client, await oauth.generateKeyPair(alg));
  const answer = await oauth.clientCredentialsGrantRequest(
    server, client, oauth.PrivateKeyJwt({ key, kid: jwk.kid }), new URLSearchParams({ scope }), { DPoP, ...LOOPBACK },
  );
  const token = await oauth.processClientCredentialsResponse(server, client, answer);
  const call = await oauth.protectedResourceRequest(
    token.access_token, "POST", new URL(`${issuer}/v1/scores`), headers(), JSON.stringify(body), { DPoP, ...LOOPBACK },
  );
  return [token, call];
}

async function throughOpenidClient({ issuer, client_id, jwk, alg, scope, body }) {
  const key = await crypto.subtle.importKey("jwk", jwk, KEYS[alg], false, ["sign"]);
  const config = await openid.discovery(
    new URL(issuer), client_id, undefined, openid.PrivateKeyJwt({ key, kid: jwk.kid }),
    { algorithm: "oauth2", execute: [openid.allowInsecureRequests] },
  );
  const DPoP = openid.getDPoPHandle(config, await openid.randomDPoPKeyPair(alg));
  const token = await openid.clientCredentialsGrant(config, { scope }, { DPoP });
  const call = await openid.fetchProtectedResource(
    config, token.access_token, new URL(`${issuer}/v1/scores`), "POST", JSON.stringify(body), headers(), { DPoP },
  );
  return [token, call];
}

function headers() {
  return new Headers({ "content-type": "application/json", "idempotency-key": randomUUID() });
}

const libraries = { oauth4webapi: throughOauth4webapi, "openid-client": throughOpenidClient };
for (const client of JSON.parse(readFileSync(process.argv[2], "utf8"))) {
  for (const [library, run] of Object.entries(libraries)) {
    const [token, call] = await run(client);
    console.log(JSON.stringify({
      library, alg: client.alg, token_type: token.token_type, scope: token.scope, status: call.status, body: await call.json(),
    }));
  }
}
