/**
 * The key pair by which a SuperLink knows a node: ECDSA on P-384, whose signature of the time goes with each
 * request.
 *
 * Source: flwr 1.42, `supernode/node_auth_http_interceptor.py`; the formats of OpenSSH, PROTOCOL.key and
 * RFC 5656.
 */
import {
  createPrivateKey,
  createPublicKey,
  generateKeyPairSync,
  type KeyObject,
  sign,
} from "node:crypto";
import { decodeBase64, decodeBase64Url, encodeBase64, encodeBase64Url } from "@std/encoding";
import { BadInputError } from "../../errors.ts";

/** SSH's names of the curve, of keys on it, and the bytes of a coordinate. */
const CURVE = "nistp384";
const KEY_TYPE = `ecdsa-sha2-${CURVE}`;
const COORDINATE_BYTES = 48;

/** A node's key pair. */
export class NodeIdentity {
  readonly #key: KeyObject;
  /** The public key, PEM in bytes: as the SuperLink takes it. */
  readonly publicKey: Uint8Array<ArrayBuffer>;

  private constructor(key: KeyObject) {
    this.#key = key;
    const pem = createPublicKey(key).export({ type: "spki", format: "pem" }) as string;
    this.publicKey = new TextEncoder().encode(pem);
  }

  /** A new key pair. */
  static generate(): NodeIdentity {
    return new NodeIdentity(generateKeyPairSync("ec", { namedCurve: "secp384r1" }).privateKey);
  }

  /**
   * Reads a private key as OpenSSH, OpenSSL or graft write it.
   *
   * @param where the file's name, for messages
   * @throws {BadInputError} for a key of another kind, or with a passphrase
   */
  static parse(text: string, where: string): NodeIdentity {
    try {
      const key = text.includes("BEGIN OPENSSH PRIVATE KEY")
        ? parseOpenSsh(text)
        : createPrivateKey(text);
      if (key.asymmetricKeyDetails?.namedCurve === "secp384r1") return new NodeIdentity(key);
    } catch {
      // The message below says all.
    }
    throw new BadInputError(
      `${where} is no private key on P-384 without a passphrase: \`ssh-keygen -t ecdsa -b 384 -N "" ` +
        "-f FILE` makes one",
    );
  }

  /** The private key, as PKCS #8 in PEM. */
  format(): string {
    return this.#key.export({ type: "pkcs8", format: "pem" }) as string;
  }

  /** The public key on a line, as OpenSSH has it and `flwr supernode register` takes it. */
  formatPublic(comment: string): string {
    const { x, y } = createPublicKey(this.#key).export({ format: "jwk" });
    const point = [4, ...padded(decodeBase64Url(x!)), ...padded(decodeBase64Url(y!))];
    const fields = [utf8(KEY_TYPE), utf8(CURVE), Uint8Array.from(point)];
    return `${KEY_TYPE} ${encodeBase64(Uint8Array.from(fields.flatMap(withLength)))} ${comment}\n`;
  }

  /** Headers of a request at this time. */
  headers(now: Date = new Date()): Record<string, string> {
    const timestamp = now.toISOString().replace("Z", "+00:00");
    return {
      "flwr-public-key": encodeBase64(this.publicKey),
      "flwr-timestamp": timestamp,
      "flwr-signature": encodeBase64(sign("sha256", utf8(timestamp), this.#key)),
    };
  }
}

const utf8 = (text: string) => new TextEncoder().encode(text);

function withLength(bytes: Uint8Array): number[] {
  const length = new Uint8Array(4);
  new DataView(length.buffer).setUint32(0, bytes.length);
  return [...length, ...bytes];
}

/** A coordinate, or SSH's whole number that may have a zero before it, in as many bytes as the curve has. */
function padded(number: Uint8Array): Uint8Array {
  const out = new Uint8Array(COORDINATE_BYTES);
  const digits = number.subarray(Math.max(0, number.length - COORDINATE_BYTES));
  out.set(digits, COORDINATE_BYTES - digits.length);
  return out;
}

/** Strings of SSH's formats: a length of 32 bits, then as many bytes. */
class SshFields {
  #at = 0;
  constructor(readonly bytes: Uint8Array) {}

  skip(count: number): void {
    this.#at += count;
  }

  next(): Uint8Array {
    const view = new DataView(this.bytes.buffer, this.bytes.byteOffset, this.bytes.byteLength);
    const length = view.getUint32(this.#at);
    const start = this.#at + 4;
    if (start + length > this.bytes.length) throw new RangeError("cut off");
    this.#at = start + length;
    return this.bytes.subarray(start, this.#at);
  }

  text(): string {
    return new TextDecoder().decode(this.next());
  }
}

const OPENSSH_MAGIC = "openssh-key-v1\0";

/** @throws {Error} for anything but one unencrypted key on P-384 */
function parseOpenSsh(text: string): KeyObject {
  const fields = new SshFields(decodeBase64(text.replaceAll(/-----[^-]+-----|\s/g, "")));
  const magic = new TextDecoder().decode(fields.bytes.subarray(0, OPENSSH_MAGIC.length));
  if (magic !== OPENSSH_MAGIC) throw new TypeError("not OpenSSH's format");
  fields.skip(OPENSSH_MAGIC.length);
  if (fields.text() !== "none") throw new TypeError("encrypted");
  fields.next(); // how the passphrase makes a key
  fields.next(); // its options
  fields.skip(4); // number of keys
  fields.next(); // the public key
  const secret = new SshFields(fields.next());
  secret.skip(8); // twice the same random number
  if (secret.text() !== KEY_TYPE || secret.text() !== CURVE) throw new TypeError("another kind");
  const point = secret.next();
  const d = secret.next();
  return createPrivateKey({
    format: "jwk",
    key: {
      kty: "EC",
      crv: "P-384",
      x: encodeBase64Url(point.subarray(1, 1 + COORDINATE_BYTES)),
      y: encodeBase64Url(point.subarray(1 + COORDINATE_BYTES)),
      d: encodeBase64Url(padded(d)),
    },
  });
}
