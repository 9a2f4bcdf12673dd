/**
 * Sections that all units of the service have, and the format of unit files.
 *
 * Source: systemd.exec(5), systemd.syntax(7).
 */

/** Folders that systemd creates for the units, under `/var/lib`, `/var/cache` and `/run`. */
export const FOLDER = "graft";

/** Settings of a section in order; those without a value are left out, `#` is a comment. */
export type Section = readonly (readonly [string, string | undefined])[];

/** The text of a unit file. */
export function format(sections: Readonly<Record<string, Section>>): string {
  return Object.entries(sections).map(([name, entries]) => {
    const lines = entries.filter(([, value]) => value !== undefined)
      .map(([key, value]) => key === "#" ? `# ${value}` : `${key}=${value}`);
    return [`[${name}]`, ...lines, ""].join("\n");
  }).join("\n");
}

/** A word of ExecStart: quoted where it must be, and without systemd's own expansions. */
export function execWord(word: string): string {
  const plain = word.replaceAll("%", "%%").replaceAll("$", "$$$$");
  return /^[\w./:@=,+%$*~-]+$/.test(plain)
    ? plain
    : `"${plain.replaceAll("\\", "\\\\").replaceAll('"', '\\"')}"`;
}

/** An environment variable in the format of units. */
function environmentWord(name: string, value: string): string {
  const text = `${name}=${value}`.replaceAll("%", "%%");
  return `"${text.replaceAll("\\", "\\\\").replaceAll('"', '\\"')}"`;
}

/** What units need to know of the machine. */
export interface Surroundings {
  /** Device nodes of a GPU, and groups that may use them; none without one. */
  readonly devices: readonly string[];
  readonly deviceGroups: readonly string[];
  /** Further environment variables. */
  readonly environment: Readonly<Record<string, string>>;
}

/**
 * Paths and permissions: the same for all services, which share a user and their files.
 *
 * @param folders under `/var/lib` that the service sees; it works in the first one
 * @param runs whether it runs models, for which it has a cache
 */
export function common(
  settings: Surroundings,
  { folders = [FOLDER], runs = true }: {
    readonly folders?: readonly string[];
    readonly runs?: boolean;
  } = {},
): Section {
  const { environment } = settings;
  const home = `/var/lib/${folders[0]}`;
  const variables = {
    HOME: home,
    ...(runs ? { GRAFT_CACHE_DIR: `/var/cache/${FOLDER}` } : {}),
    ...environment,
  };
  return [
    ["DynamicUser", "yes"],
    ["User", FOLDER],
    ["StateDirectory", folders.join(" ")],
    ["StateDirectoryMode", "0700"],
    ...(runs ? CACHE : []),
    ["WorkingDirectory", home],
    ["UMask", "0077"],
    ...Object.entries(variables).map(([name, value]) =>
      ["Environment", environmentWord(name, value)] as const
    ),
    ["TasksMax", "512"],
    ["LimitCORE", "0"],
    ...HARDENING,
    ...deviceAccess(settings),
  ];
}

const CACHE: Section = [
  ["CacheDirectory", FOLDER],
  ["CacheDirectoryMode", "0700"],
  ["#", "ONNX Runtime is unpacked there and loaded"],
  ["ExecPaths", `/var/cache/${FOLDER}`],
];

/**
 * Restrictions of everything that graft does not need. MemoryDenyWriteExecute is not included because
 * the JavaScript engine compiles at run time, nor ProcSubset=pid because memory is predicted from
 * /proc/meminfo.
 */
export const HARDENING: Section = [
  ["NoNewPrivileges", "yes"],
  ["CapabilityBoundingSet", ""],
  ["AmbientCapabilities", ""],
  ["ProtectSystem", "strict"],
  ["ProtectHome", "yes"],
  ["PrivateTmp", "yes"],
  ["PrivateUsers", "yes"],
  ["PrivateIPC", "yes"],
  ["RemoveIPC", "yes"],
  ["ProtectClock", "yes"],
  ["ProtectHostname", "yes"],
  ["ProtectKernelLogs", "yes"],
  ["ProtectKernelModules", "yes"],
  ["ProtectKernelTunables", "yes"],
  ["ProtectControlGroups", "yes"],
  ["ProtectProc", "invisible"],
  ["RestrictNamespaces", "yes"],
  ["RestrictRealtime", "yes"],
  ["RestrictSUIDSGID", "yes"],
  ["LockPersonality", "yes"],
  ["KeyringMode", "private"],
  ["SystemCallArchitectures", "native"],
  ["SystemCallFilter", "@system-service"],
  ["SystemCallFilter", "~@privileged @resources"],
  ["SystemCallErrorNumber", "EPERM"],
];

/** A service that reaches nothing. */
export const NO_NETWORK: Section = [
  ["PrivateNetwork", "yes"],
  ["IPAddressDeny", "any"],
  ["RestrictAddressFamilies", "AF_UNIX"],
];

/** Work that goes on where it was stopped. */
export const STOPS_IN_ORDER: Section = [
  ["#", "stopped in order: it goes on with the next start"],
  ["SuccessExitStatus", "130"],
  ["TimeoutStopSec", "90"],
  ["KillMode", "mixed"],
];

/** What training may take of the machine, less than what answers. */
export function shareOfTraining(
  { trainMemoryMax, trainCpuQuota }: {
    readonly trainMemoryMax: string;
    readonly trainCpuQuota?: string;
  },
): Section {
  return [
    ["MemoryMax", trainMemoryMax],
    ["CPUQuota", trainCpuQuota],
    ["CPUWeight", "20"],
    ["CPUSchedulingPolicy", "batch"],
    ["Nice", "10"],
    ["IOSchedulingClass", "idle"],
  ];
}

function deviceAccess({ devices, deviceGroups }: Surroundings): Section {
  if (devices.length === 0) return [["PrivateDevices", "yes"], ["DevicePolicy", "closed"]];
  return [
    ["#", "the GPU, and no other device"],
    ["DevicePolicy", "closed"],
    ...devices.map((device) => ["DeviceAllow", `${device} rw`] as const),
    ["SupplementaryGroups", deviceGroups.length === 0 ? undefined : deviceGroups.join(" ")],
  ];
}
