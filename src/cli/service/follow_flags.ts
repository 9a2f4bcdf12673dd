/** Flags of `graft service install` for a box that follows a fleet. */
import { fromFileUrl, resolve } from "@std/path";
import { kebab } from "../../config/parameter.ts";
import { UsageError } from "../../errors.ts";
import { parseTrustedKeys } from "../../fleet/release/keys.ts";
import type { FollowSettings } from "../../service/follow_units.ts";
import { checkVisible } from "../../service/install.ts";
import { boxNameOf } from "../fleet/box_flags.ts";
import { STORE_FLAGS } from "../fleet/fleet_flags.ts";
import { wordsOf } from "../flag_words.ts";
import { inGroup, text, type Values } from "../flags.ts";
import { readTextFile } from "../../system/small_file.ts";

const { bucket, creds, nkey, tlscert, tlskey, tlsca, tlsfirst, jsDomain } = STORE_FLAGS;

/** Files that systemd hands to the unit as credentials. */
const SECRETS = { creds, nkey, tlscert, tlskey, tlsca };
const PLAIN = { tlsfirst, jsDomain };

/** Flags that mean something only with `--follow`. */
const NEEDING = {
  publicKey: text("File of the operator's public keys, which must have signed the orders", {
    placeholder: "FILE",
  }),
  box: text("Name of this box; made from its host name and machine id if absent", {
    placeholder: "NAME",
  }),
  bucket,
  ...SECRETS,
  ...PLAIN,
};

export const FOLLOW_FLAGS = inGroup({
  follow: text("Fleet to follow: URLs of NATS, or file:///FOLDER; none if absent", {
    placeholder: "URL",
  }),
  ...NEEDING,
}, "Releases of a fleet");

/**
 * Settings of the units that follow a fleet; `undefined` if none is followed.
 *
 * @param given keys of the flags that were given
 * @param publicKey path of the copy of the public keys
 * @throws {UsageError} for flags that do not go together
 */
export function followSettings(
  flags: Values<typeof FOLLOW_FLAGS>,
  given: ReadonlySet<string>,
  publicKey: string,
): FollowSettings | undefined {
  const { follow: server } = flags;
  if (server === undefined) {
    const key = Object.keys(NEEDING).find((key) => given.has(key));
    if (key === undefined) return undefined;
    throw new UsageError(`--${kebab(key)} is about a fleet: give --follow, too`);
  }
  if (flags.publicKey === undefined) {
    throw new UsageError("--follow needs --public-key: the file that graft fleet keygen wrote");
  }
  parseTrustedKeys(readTextFile(flags.publicKey), flags.publicKey);
  if (server.startsWith("file:")) checkVisible(fromFileUrl(server), "--follow");
  const secrets: Record<string, string> = {};
  for (const name of Object.keys(SECRETS) as (keyof typeof SECRETS)[]) {
    const path = flags[name];
    if (path === undefined) continue;
    readTextFile(path);
    secrets[name] = resolve(path);
  }
  return {
    ...{ server, publicKey, secrets, bucket: flags.bucket, box: boxNameOf(flags) },
    flags: wordsOf(flags, Object.keys(PLAIN).filter((key) => given.has(key))),
  };
}
