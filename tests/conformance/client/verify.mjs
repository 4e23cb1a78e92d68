// Whoever holds a receipt and the published keys, with a public JOSE library and nothing of ours.
// Usage: node verify.mjs receipts.json; prints one line of JSON for each receipt: what it says, and which of its bytes
// could be another one without the library noticing.
import { readFileSync } from "node:fs";
import { createLocalJWKSet, jwtVerify } from "jose";

const { jwks, issuer, type, receipts } = JSON.parse(readFileSync(process.argv[2], "utf8"));
const published = createLocalJWKSet(jwks);
const verified = (signed) => jwtVerify(signed, published, { algorithms: ["ES256"], issuer, typ: type });

function* changed(signed) {
  const parts = signed.split(".").map((part) => Buffer.from(part, "base64url"));
  for (const [number, part] of parts.entries()) {
    for (let place = 0; place < part.length; place++) {
      const others = parts.map((each) => Buffer.from(each));
      others[number][place] ^= 1 << (place % 8);
      yield [number, place, others.map((each) => each.toString("base64url")).join(".")];
    }
  }
}

for (const signed of receipts) {
  const { payload, protectedHeader } = await verified(signed);
  const accepted = [];
  let count = 0;
  for (const [part, place, other] of changed(signed)) {
    count++;
    await verified(other).then(() => accepted.push([part, place]), () => {});
  }
  const events = payload.events.map((event) => event.type);
  console.log(JSON.stringify({ kid: protectedHeader.kid, events, changed: count, accepted }));
}
