/** Common flags of the verbs of `graft fleet`: servers and credentials as the `nats` command line has them. */
import { parseDuration } from "../../config/duration.ts";
import { UsageError } from "../../errors.ts";
import {
  parseSigningKey,
  parseTrustedKeys,
  type SigningKey,
  type TrustedKeys,
} from "../../fleet/release/keys.ts";
import { createPublicKey } from "node:crypto";
import type { NatsSettings } from "../../fleet/store/nats_connect.ts";
import { openStore } from "../../fleet/store/open_store.ts";
import type { FleetStore } from "../../fleet/store/store.ts";
import { boolean, integer, text, type Values } from "../flags.ts";
import { readTextFile } from "../../system/small_file.ts";

const SERVER = "Server";

/** Where the fleet's store is, and how to be let in. */
export const STORE_FLAGS = {
  server: text("URLs of NATS, with commas, or file:///FOLDER; NATS_URL if absent", {
    short: "s",
    placeholder: "URL",
    group: SERVER,
  }),
  bucket: text("Name of the fleet and of its buckets", { default: "graft", group: SERVER }),
  user: text("User name; NATS_USER if absent", { placeholder: "USER", group: SERVER }),
  password: text("Password; NATS_PASSWORD, which other users cannot see, if absent", {
    placeholder: "PASSWORD",
    group: SERVER,
  }),
  token: text("Token; NATS_TOKEN if absent", { placeholder: "TOKEN", group: SERVER }),
  creds: text("User credentials; NATS_CREDS if absent", { placeholder: "FILE", group: SERVER }),
  nkey: text("User NKEY; NATS_NKEY if absent", { placeholder: "FILE", group: SERVER }),
  tlscert: text("TLS public certificate; NATS_CERT if absent", {
    placeholder: "FILE",
    group: SERVER,
  }),
  tlskey: text("TLS private key; NATS_KEY if absent", { placeholder: "FILE", group: SERVER }),
  tlsca: text("TLS certificate authority chain; NATS_CA if absent", {
    placeholder: "FILE",
    group: SERVER,
  }),
  tlsfirst: boolean("Perform the TLS handshake before expecting the server's greeting", {
    default: false,
    group: SERVER,
  }),
  jsDomain: text("JetStream domain to access", { placeholder: "DOMAIN", group: SERVER }),
  timeout: text("Time to wait on responses from NATS", {
    default: "5s",
    placeholder: "DURATION",
    group: SERVER,
  }),
} as const;

/** Variables of the environment as the `nats` command line has them. */
const VARIABLES = {
  server: "NATS_URL",
  user: "NATS_USER",
  password: "NATS_PASSWORD",
  token: "NATS_TOKEN",
  creds: "NATS_CREDS",
  nkey: "NATS_NKEY",
  tlscert: "NATS_CERT",
  tlskey: "NATS_KEY",
  tlsca: "NATS_CA",
} as const;

/** Number of copies that a cluster keeps. */
export const REPLICAS_FLAG = {
  replicas: integer("Copies of each bucket in a cluster, where this makes them", {
    default: 1,
    min: 1,
    max: 5,
    group: SERVER,
  }),
} as const;

export const PUBLIC_KEY_FLAG = {
  publicKey: text("File of the operator's public keys, which must have signed the orders", {
    required: true,
    placeholder: "FILE",
  }),
} as const;

export const KEY_FLAG = {
  key: text("File of the operator's private key, which signs orders", {
    required: true,
    placeholder: "FILE",
  }),
} as const;

type StoreFlags = Values<typeof STORE_FLAGS>;

/** Names of flags that a value of the environment may stand for. */
function fromEnvironment(flags: StoreFlags): { [K in keyof typeof VARIABLES]: string | undefined } {
  const found = Object.entries(VARIABLES).map(([key, variable]) =>
    [key, flags[key as keyof typeof VARIABLES] ?? (Deno.env.get(variable) || undefined)] as const
  );
  return Object.fromEntries(found) as ReturnType<typeof fromEnvironment>;
}

/**
 * Opens the fleet's store.
 *
 * @param name of the connection
 * @param patient whether to wait for a server that does not answer yet
 */
export function storeOf(
  flags: StoreFlags,
  name: string,
  patient = false,
  replicas = 1,
): Promise<FleetStore> {
  const { server, ...access } = fromEnvironment(flags);
  if (server === undefined) {
    throw new UsageError("Missing --server: URLs of NATS, or file:///FOLDER; or set NATS_URL");
  }
  if (!/^[A-Za-z0-9_-]{1,64}$/.test(flags.bucket)) {
    throw new UsageError(
      `--bucket must be letters, digits, - and _: current value is "${flags.bucket}"`,
    );
  }
  const settings: NatsSettings = {
    ...access,
    server,
    tlsfirst: flags.tlsfirst,
    timeoutMs: 1000 * parseDuration(flags.timeout, "timeout"),
    ...{ name, patient },
  };
  return openStore(settings, { bucket: flags.bucket, replicas, jsDomain: flags.jsDomain });
}

/** The operator's key, and the keys that verify what it has signed. */
export function signingKeyOf(
  { key: path }: { readonly key: string },
): { readonly key: SigningKey; readonly keys: TrustedKeys } {
  const key = parseSigningKey(readTextFile(path), path);
  return { key, keys: new Map([[key.id, createPublicKey(key.key)]]) };
}

/** The keys that a box trusts. */
export function trustedKeysOf({ publicKey }: { readonly publicKey: string }): TrustedKeys {
  return parseTrustedKeys(readTextFile(publicKey), publicKey);
}
