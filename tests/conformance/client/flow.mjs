// A bank's web application made of a public OAuth library: it is told the issuer and its own key or certificate, and
// finds out the rest. Usage: node flow.mjs clients.json. For each client it prints {"go": address} when a person can
// come to the bank's page and follow its link, and at the end one line of JSON with what came of every step.
import { randomUUID } from "node:crypto";
import { once } from "node:events";
import { readFileSync } from "node:fs";
import { createServer } from "node:http";
import * as openid from "openid-client";
import * as undici from "undici";

const KEYS = {
  ES256: { name: "ECDSA", namedCurve: "P-256" },
  PS256: { name: "RSA-PSS", hash: "SHA-256" },
  Ed25519: { name: "Ed25519" },
};

// With a key: `private_key_jwt`, and tokens that are bound to a second key, which nobody else has.
async function withKey({ issuer, client_id, jwk, alg }) {
  const key = await crypto.subtle.importKey("jwk", jwk, KEYS[alg], false, ["sign"]);
  const connect = connecting(issuer, client_id, openid.PrivateKeyJwt({ key, kid: jwk.kid }), [openid.allowInsecureRequests]);
  const config = await connect();
  const proof = async () => ({ DPoP: openid.getDPoPHandle(config, await openid.randomDPoPKeyPair(alg)) });
  return { connect, config, proof: await proof(), strangers: [[config, await proof()], [config, {}]] };
}

// With a certificate: it authenticates the client, and the tokens are bound to it (RFC 8705).
async function withCertificate({ issuer, client_id, tls, stranger }) {
  const connect = connecting(issuer, client_id, openid.TlsClientAuth(), [], { use_mtls_endpoint_aliases: true }, tls);
  const others = [stranger, { ca: tls.ca }].map(async (another) => {
    const config = await connect();
    config[openid.customFetch] = fetching(another);
    return [config, {}];
  });
  return { connect, config: await connect(), proof: {}, strangers: await Promise.all(others) };
}

function connecting(issuer, client_id, authentication, execute, metadata = {}, tls = {}) {
  return (more = {}) => openid.discovery(new URL(issuer), client_id, { ...metadata, ...more }, authentication, {
    algorithm: "oauth2", execute: [...execute, openid.enableNonRepudiationChecks], [openid.customFetch]: fetching(tls),
  });
}

// How introspection answered.
const types = new Set();

function fetching(connect) {
  const dispatcher = new undici.Agent({ connect });
  return async (url, options) => {
    const answer = await undici.fetch(url, { ...options, dispatcher });
    if (url.endsWith("/introspect")) types.add(answer.headers.get("content-type").split(";")[0]);
    return answer;
  };
}

async function wholeWay({ redirect_uri, resource, detail }, { connect, config, proof, strangers }) {
  types.clear();
  const verifier = openid.randomPKCECodeVerifier();
  const state = openid.randomState();
  const score = async (token, [as, how]) => {
    const headers = new Headers({ "content-type": "application/json", "idempotency-key": randomUUID() });
    const { purpose, categories } = detail;
    const user = token.authorization_details[0].user;
    return openid.fetchProtectedResource(
      as, token.access_token, new URL(`${resource}/v1/scores`), "POST", JSON.stringify({ user, purpose, categories }), headers, how,
    );
  };

  const own = await openid.clientCredentialsGrant(config, { scope: "log" }, proof);
  const address = await openid.buildAuthorizationUrlWithPAR(config, {
    redirect_uri, state, scope: "scores", authorization_details: JSON.stringify([detail]),
    code_challenge: await openid.calculatePKCECodeChallenge(verifier), code_challenge_method: "S256",
  }, proof);
  const back = await answered(address, redirect_uri);
  const checks = { pkceCodeVerifier: verifier, expectedState: state };
  const mixedUp = await refusal(openid.authorizationCodeGrant(config, changed(back, "iss"), checks, {}, proof));
  const forged = await refusal(openid.authorizationCodeGrant(config, changed(back, "state"), checks, {}, proof));
  const token = await openid.authorizationCodeGrant(config, back, checks, {}, proof);
  const scored = await score(token, [config, proof]);
  const stolen = await Promise.all(strangers.map((stranger) => refusal(score(token, stranger))));

  const fresh = await openid.refreshTokenGrant(config, token.refresh_token, {}, proof);
  const plain = await openid.tokenIntrospection(config, fresh.access_token);
  const signed = await openid.tokenIntrospection(
    await connect({ introspection_signed_response_alg: "ES256" }), fresh.access_token,
  );
  await openid.tokenRevocation(config, fresh.access_token);
  const revoked = await refusal(score(fresh, [config, proof]));
  const gone = await openid.tokenIntrospection(config, fresh.access_token);
  await openid.tokenRevocation(config, token.refresh_token);
  const ended = await refusal(openid.refreshTokenGrant(config, token.refresh_token, {}, proof));
  return {
    own, token, mixedUp, forged, status: scored.status, score: await scored.json(), stolen,
    fresh, plain, signed, types: [...types], revoked, gone, ended,
  };
}

// The bank's page with the link, and the address that the person comes back with.
async function answered(address, redirect_uri) {
  const { origin, port, pathname } = new URL(redirect_uri);
  const link = `<!doctype html><title>Bank</title><a href="${address.href.replaceAll("&", "&amp;")}">Apply</a>`;
  const listener = createServer().listen(port, "127.0.0.1");
  await once(listener, "listening");
  console.log(JSON.stringify({ go: origin }));
  for (;;) {
    const [request, answer] = await once(listener, "request");
    const back = request.url.startsWith(`${pathname}?`);
    answer.setHeader("content-type", "text/html").setHeader("connection", "close").end(back ? "Back at the bank" : link);
    if (!back) continue;
    listener.close();
    return new URL(request.url, redirect_uri);
  }
}

function changed(address, name) {
  const other = new URL(address);
  other.searchParams.set(name, "https://another.example");
  return other;
}

async function refusal(promise) {
  try {
    return { status: (await promise).status ?? "given" };
  } catch (error) {
    const challenge = error.cause?.[0]?.parameters?.error;
    return { status: error.status, error: error.error ?? challenge ?? error.code };
  }
}

for (const client of JSON.parse(readFileSync(process.argv[2], "utf8"))) {
  const connection = await (client.tls ? withCertificate : withKey)(client);
  console.log(JSON.stringify({ client_id: client.client_id, ...await wholeWay(client, connection) }));
}
