/**
 * Ed25519 keys of a fleet's operator, in the PEM files that `openssl genpkey -algorithm ed25519` and
 * `openssl pkey -pubout` write (RFC 8410).
 */
import {
  createHash,
  createPrivateKey,
  createPublicKey,
  generateKeyPairSync,
  type KeyObject,
} from "node:crypto";
import { BadInputError } from "../../errors.ts";

/** A key that signs. */
export interface SigningKey {
  readonly key: KeyObject;
  readonly id: string;
}

/** Keys that boxes accept, by their ids. */
export type TrustedKeys = ReadonlyMap<string, KeyObject>;

const BLOCK = /-----BEGIN ([A-Z ]+)-----[A-Za-z0-9+/=\s]+-----END \1-----/g;

/** Makes a pair of keys as the texts of their files. */
export function generateKeys(): { readonly privateKey: string; readonly publicKey: string } {
  return generateKeyPairSync("ed25519", {
    privateKeyEncoding: { type: "pkcs8", format: "pem" },
    publicKeyEncoding: { type: "spki", format: "pem" },
  });
}

/** A public key's id: the first 16 hexadecimal digits of SHA-256 over its DER form. */
function keyId(key: KeyObject): string {
  const der = key.export({ type: "spki", format: "der" });
  return createHash("sha256").update(der).digest("hex").slice(0, 16);
}

/**
 * Reads a private key.
 *
 * @param file its name, for the message
 * @throws {BadInputError} for anything else
 */
export function parseSigningKey(text: string, file: string): SigningKey {
  const blocks = [...text.matchAll(BLOCK)];
  const what = "it must have one Ed25519 private key in PEM, as `graft fleet keygen` writes it";
  if (blocks.length !== 1 || blocks[0][1] !== "PRIVATE KEY") {
    throw new BadInputError(`${file}: ${what}`);
  }
  try {
    const key = createPrivateKey(blocks[0][0]);
    if (key.asymmetricKeyType !== "ed25519") throw new Error(String(key.asymmetricKeyType));
    return { key, id: keyId(createPublicKey(key)) };
  } catch (cause) {
    throw new BadInputError(`${file}: ${what}`, { cause });
  }
}

/**
 * Reads the public keys that a box trusts, one or several after each other.
 *
 * @param file its name, for the message
 * @throws {BadInputError} if there is none, or something else
 */
export function parseTrustedKeys(text: string, file: string): TrustedKeys {
  const blocks = [...text.matchAll(BLOCK)];
  if (blocks.some(([, kind]) => kind === "PRIVATE KEY")) {
    throw new BadInputError(
      `${file}: this is the private key: a box is given the public one alone`,
    );
  }
  const keys = new Map<string, KeyObject>();
  for (const [pem] of blocks) {
    try {
      const key = createPublicKey(pem);
      if (key.asymmetricKeyType !== "ed25519") throw new Error(String(key.asymmetricKeyType));
      keys.set(keyId(key), key);
    } catch (cause) {
      throw new BadInputError(`${file}: a block of it is no Ed25519 public key in PEM`, { cause });
    }
  }
  if (keys.size === 0) {
    throw new BadInputError(
      `${file}: there is no public key in PEM in it, as \`graft fleet keygen\` writes it`,
    );
  }
  return keys;
}
