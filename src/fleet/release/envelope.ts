/**
 * Signed orders, as envelopes of DSSE (Dead Simple Signing Envelope): JSON with the order's bytes in
 * base64 and Ed25519 signatures over its type, its length and these bytes, which other tools verify, too.
 *
 * Source: https://github.com/secure-systems-lab/dsse, protocol.md and envelope.md, version 1.0.
 */
import { sign, verify } from "node:crypto";
import { Buffer } from "node:buffer";
import { concat } from "@std/bytes/concat";
import { BadInputError } from "../../errors.ts";
import type { SigningKey, TrustedKeys } from "./keys.ts";
import { decodeOrder, encodeOrder, LIMITS, type Order } from "./order.ts";

const TYPE = "application/vnd.graft.order+json";

/** Base64 takes four bytes for three; the rest is for names and signatures. */
export const MOST_ENVELOPE_BYTES = Math.ceil(LIMITS.orderBytes * 4 / 3) + 4096;

/** Signatures that are looked at, so that a long list costs nothing. */
const MOST_SIGNATURES = 8;

/** DSSE's pre-authentication encoding. */
function signedBytes(payload: Uint8Array): Uint8Array {
  return concat([
    new TextEncoder().encode(`DSSEv1 ${TYPE.length} ${TYPE} ${payload.length} `),
    payload,
  ]);
}

/** Signs an order. */
export function sealOrder(order: Order, { key, id }: SigningKey): Uint8Array<ArrayBuffer> {
  const payload = encodeOrder(order);
  const signature = sign(null, signedBytes(payload), key);
  return new TextEncoder().encode(JSON.stringify({
    payloadType: TYPE,
    payload: Buffer.from(payload).toString("base64"),
    signatures: [{ keyid: id, sig: signature.toString("base64") }],
  }));
}

/**
 * Verifies an envelope and reads its order.
 *
 * @param where it comes from, for messages
 * @param fleet the order must be for
 * @throws {BadInputError} if no trusted key signed it, or it is not an order of this fleet
 */
export function openOrder(
  envelope: Uint8Array,
  keys: TrustedKeys,
  fleet: string,
  where: string,
): Order {
  if (envelope.length > MOST_ENVELOPE_BYTES) {
    throw new BadInputError(
      `${where}: a signed order has at most ${MOST_ENVELOPE_BYTES} bytes: current value is ` +
        `${envelope.length}`,
    );
  }
  const { payload, signatures } = envelopeOf(envelope, where);
  const signed = signedBytes(payload);
  const genuine = signatures.slice(0, MOST_SIGNATURES).some(({ keyid, sig }) => {
    const key = keys.get(keyid);
    return key !== undefined && verify(null, signed, key, Buffer.from(sig, "base64"));
  });
  if (!genuine) {
    const by = signatures.map(({ keyid }) => JSON.stringify(keyid.slice(0, 64))).join(", ") ||
      "nobody";
    throw new BadInputError(
      `${where}: no trusted key has signed this order (signed by ${by}, trusted: ` +
        `${[...keys.keys()].join(", ")}): it is refused`,
    );
  }
  const order = decodeOrder(payload, where);
  if (order.fleet === fleet) return order;
  throw new BadInputError(
    `${where}: the order is for the fleet ${
      JSON.stringify(order.fleet)
    }, and this is "${fleet}": it is ` +
      "refused",
  );
}

interface Envelope {
  readonly payload: Uint8Array;
  readonly signatures: readonly { readonly keyid: string; readonly sig: string }[];
}

function envelopeOf(bytes: Uint8Array, where: string): Envelope {
  try {
    const { payloadType, payload, signatures } = JSON.parse(
      new TextDecoder("utf-8", { fatal: true }).decode(bytes),
    );
    const isSignature = (value: unknown) => {
      const { keyid, sig } = value as Record<string, unknown>;
      return typeof keyid === "string" && typeof sig === "string";
    };
    if (
      payloadType !== TYPE || typeof payload !== "string" || !Array.isArray(signatures) ||
      !signatures.every(isSignature)
    ) throw new TypeError("fields are missing");
    return { payload: Buffer.from(payload, "base64"), signatures };
  } catch (cause) {
    throw new BadInputError(
      `${where}: it is no signed order (${(cause as Error).message}): it is refused`,
      { cause },
    );
  }
}
