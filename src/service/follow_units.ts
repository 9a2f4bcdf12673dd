/**
 * The units of a box that follows a fleet: one with the network, which sees no rows, and one with the
 * models, which has no network. Each reads a folder of the other.
 *
 * Source: systemd.exec(5), systemd.path(5).
 */
import { execWord, format, HARDENING, type Section } from "./unit_sections.ts";

export interface FollowSettings {
  /** Addresses of the fleet's store. */
  readonly server: string;
  /** Name of the fleet. */
  readonly bucket: string;
  readonly box: string;
  /** File of the operator's public keys, which every user can read. */
  readonly publicKey: string;
  /** Files that only root need be able to read, by the flag that names them: `creds`, `tlskey`. */
  readonly secrets: Readonly<Record<string, string>>;
  /** Further flags of `graft fleet follow`. */
  readonly flags: readonly string[];
}

/** Names of the units. */
export const FOLLOW_UNITS = {
  follow: "graft-follow.service",
  apply: "graft-apply.service",
  applyPath: "graft-apply.path",
} as const;

/** What is fetched: the state of the unit with the network, as that and as the other unit sees it. */
const INBOX = "/var/lib/graft-follow";
const INBOX_BEHIND = "/var/lib/private/graft-follow";
const INBOX_SEEN = "/run/graft-inbox";
/** The report: a folder of the other unit. */
const OUTBOX = "/var/log/graft";
const OUTBOX_BEHIND = "/var/log/private/graft";
const OUTBOX_SEEN = "/run/graft-outbox";
/** Name of the file in the inbox that changes when there is something to do (`fleet/box/inbox.ts`). */
const HANDED_OVER = "handed-over";

const CREDENTIALS = `/run/credentials/${FOLLOW_UNITS.follow}`;

/**
 * Contents of the unit files by name.
 *
 * @param install flags of the job
 * @param shared settings that installing has in common with the training
 */
export function followUnitFiles(
  exec: readonly string[],
  follow: FollowSettings,
  install: readonly string[],
  shared: Section,
): readonly (readonly [string, string])[] {
  return [
    [FOLLOW_UNITS.follow, followUnit(exec, follow)],
    [FOLLOW_UNITS.apply, applyUnit(exec, follow, install, shared)],
    [FOLLOW_UNITS.applyPath, applyPathUnit()],
  ];
}

/** The unit with the network. */
function followUnit(exec: readonly string[], follow: FollowSettings): string {
  const { server, bucket, box, publicKey, secrets, flags } = follow;
  const words = [
    ...[...exec, "fleet", "follow", "--server", server, "--bucket", bucket, "--box", box],
    ...["--public-key", publicKey, "--inbox", INBOX, "--outbox", OUTBOX_SEEN],
    ...Object.keys(secrets).flatMap((name) => [`--${name}`, `${CREDENTIALS}/${name}`]),
    ...flags,
  ];
  return format({
    Unit: [
      ["Description", "graft: fetches what the fleet is given, and reports"],
      ["Wants", "network-online.target graft-apply.service"],
      ["#", "graft-apply.service makes the folder of the report"],
      ["After", "network-online.target graft-apply.service"],
      ["StartLimitIntervalSec", "0"],
    ],
    Service: [
      ["Type", "exec"],
      ["ExecStart", words.map(execWord).join(" ")],
      ...Object.entries(secrets).map(([name, path]) =>
        ["LoadCredential", `${name}:${path}`] as const
      ),
      ["SuccessExitStatus", "130"],
      ["Restart", "always"],
      ["RestartSec", "10"],
      ["MemoryMax", "512M"],
      ["TasksMax", "64"],
      ["LimitCORE", "0"],
      ["DynamicUser", "yes"],
      ["User", "graft-follow"],
      ["StateDirectory", "graft-follow"],
      ["#", "the other unit's user reads it; nobody else reaches it"],
      ["StateDirectoryMode", "0755"],
      ["UMask", "0022"],
      ["BindReadOnlyPaths", `-${OUTBOX_BEHIND}:${OUTBOX_SEEN}`],
      ["WorkingDirectory", INBOX],
      ["Environment", `HOME=${INBOX}`],
      ...HARDENING,
      ["PrivateDevices", "yes"],
      ["DevicePolicy", "closed"],
      ["RestrictAddressFamilies", "AF_UNIX AF_INET AF_INET6"],
    ],
    Install: [["WantedBy", "multi-user.target"]],
  });
}

/** The unit that merges and measures. */
function applyUnit(
  exec: readonly string[],
  { bucket, box, publicKey }: FollowSettings,
  install: readonly string[],
  shared: Section,
): string {
  const words = [
    ...[...exec, "fleet", "apply", "--bucket", bucket, "--box", box, "--public-key", publicKey],
    ...["--inbox", INBOX_SEEN, "--outbox", OUTBOX, ...install],
  ];
  return format({
    Unit: [["Description", "graft: merges, measures and promotes what the fleet is given"]],
    Service: [
      ["Type", "exec"],
      ["ExecStart", words.map(execWord).join(" ")],
      ["#", "a round is at work: another try a minute later"],
      ["RestartForceExitStatus", "75"],
      ["Restart", "on-abnormal"],
      ["RestartSec", "60"],
      ["LogsDirectory", "graft"],
      ["LogsDirectoryMode", "0755"],
      ["BindReadOnlyPaths", `-${INBOX_BEHIND}:${INBOX_SEEN}`],
      ...shared,
    ],
  });
}

/** Starts it when something was fetched. */
function applyPathUnit(): string {
  return format({
    Unit: [["Description", "graft: sees what was fetched for the fleet"]],
    Path: [["PathChanged", `${INBOX_BEHIND}/${HANDED_OVER}`]],
    Install: [["WantedBy", "multi-user.target"]],
  });
}
