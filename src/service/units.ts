/**
 * The units that `graft service install` writes, as text.
 *
 * Source: systemd.unit(5), systemd.service(5), systemd.exec(5), systemd.resource-control(5),
 * systemd.timer(5); the oldest supported systemd is 245 (JetPack 5), which ignores unknown settings.
 */
import {
  common,
  execWord,
  FOLDER,
  format,
  NO_NETWORK,
  type Section,
  shareOfTraining,
  STOPS_IN_ORDER,
  type Surroundings,
} from "./unit_sections.ts";
import { FLEET_UNITS, fleetUnitFiles, type FleetUnitSettings } from "./fleet_units.ts";
import { FOLLOW_UNITS, type FollowSettings, followUnitFiles } from "./follow_units.ts";

export interface UnitSettings extends Surroundings {
  /** The program and its first arguments: absolute, then `service`. */
  readonly exec: readonly string[];
  /** Base model, as named in the units. */
  readonly model: string;
  /** Folder of the training data. */
  readonly data: string;
  /** Configuration of the training, if there is one. */
  readonly trainConfig?: string;
  /** Calendar expression of the timer (systemd.time(7)). */
  readonly schedule: string;
  readonly margin: number;
  readonly keep: number;
  /** Memory limit in systemd's format: `60%`, `2G`. */
  readonly memoryMax: string;
  readonly trainMemoryMax: string;
  /** Limit of processor time, over all cores, e.g. `150%`; unlimited if absent. */
  readonly cpuQuota?: string;
  readonly trainCpuQuota?: string;
  /** Permissions of the socket, octal digits. */
  readonly socketMode: string;
  /** Address of the HTTP side, `127.0.0.1:8080`; none without one. */
  readonly listen?: string;
  /** Whether systemd listens and hands the socket over; otherwise the service has a network. */
  readonly handsSocket?: boolean;
  /** File of its keys, which only root need be able to read. */
  readonly apiKeyFile?: string;
  /** Whether there is a page for people; default true. */
  readonly webui?: boolean;
  /** Folder that requests may load adapters from; none if absent. */
  readonly loraDir?: string;
  /** Whether requests may train; default false. */
  readonly jobs?: boolean;
  /** Memory of such a training, in graft's format: `1G`. */
  readonly jobMemoryBudget?: string;
  /** The fleet that the box learns with; none if absent. */
  readonly fleet?: FleetUnitSettings;
  /** The fleet whose releases the box follows; none if absent. */
  readonly follow?: FollowSettings;
}

/** Names of the units. */
export const UNITS = {
  service: "graft.service",
  socket: "graft.socket",
  train: "graft-train.service",
  timer: "graft-train.timer",
  ...FLEET_UNITS,
  ...FOLLOW_UNITS,
} as const;

/** Longest time between two pings of the watchdog. */
const WATCHDOG_SECONDS = 60;
/** Time limit of answers in progress, and the additional time before systemd kills the service. */
export const DRAIN_SECONDS = 20;
const STOP_MARGIN_SECONDS = 10;

/** Name of the keys among the unit's credentials, and their path there (systemd.exec(5)). */
const KEYS = "api-keys";
const KEYS_IN_UNIT = `/run/credentials/graft.service/${KEYS}`;

/** Contents of the unit files by name. */
export function unitFiles(settings: UnitSettings): ReadonlyMap<string, string> {
  return new Map([
    [UNITS.service, serviceUnit(settings)],
    ...(settings.listen !== undefined && settings.handsSocket === true
      ? [[UNITS.socket, socketUnit(settings.listen)] as const]
      : []),
    [UNITS.train, trainUnit(settings)],
    [UNITS.timer, timerUnit(settings)],
    ...(settings.fleet === undefined ? [] : fleetUnitFiles(settings, settings.fleet)),
    ...(settings.follow === undefined ? [] : followUnits(settings, settings.follow)),
  ]);
}

function followUnits(settings: UnitSettings, follow: FollowSettings) {
  const install = [...sourceFlags(settings), ...promotionFlags(settings)];
  const shared = [...trainingLimits(settings), ...common(settings), ...NO_NETWORK];
  return followUnitFiles(settings.exec, follow, install, shared);
}

function command(settings: UnitSettings, ...words: readonly string[]): string {
  return [...settings.exec, "service", ...words].map(execWord).join(" ");
}

function serviceUnit(settings: UnitSettings): string {
  return format({
    Unit: [
      ["Description", "graft: the fine-tuned model, answering on /run/graft/socket"],
      ["StartLimitIntervalSec", "0"],
    ],
    Service: [
      ["Type", "notify"],
      ["NotifyAccess", "main"],
      [
        "ExecStart",
        command(
          settings,
          "run",
          ...["--model", settings.model, "--socket-mode", settings.socketMode],
          ...["--drain", String(DRAIN_SECONDS)],
          ...(settings.listen === undefined ? [] : ["--listen", settings.listen]),
          ...(settings.apiKeyFile === undefined ? [] : ["--api-key-file", KEYS_IN_UNIT]),
          ...requestFlags(settings),
        ),
      ],
      ["LoadCredential", settings.apiKeyFile && `${KEYS}:${settings.apiKeyFile}`],
      ["TimeoutStartSec", "10min"],
      ["TimeoutStopSec", `${DRAIN_SECONDS + STOP_MARGIN_SECONDS}`],
      ["TimeoutAbortSec", `${STOP_MARGIN_SECONDS}`],
      ["WatchdogSec", `${WATCHDOG_SECONDS}`],
      ["Restart", "on-failure"],
      ["RestartSec", "2"],
      ["KillMode", "mixed"],
      ["OOMScoreAdjust", "-500"],
      ...(settings.jobs === true ? JOBS_UNIT : []),
      ["MemoryMax", settings.memoryMax],
      ["CPUQuota", settings.cpuQuota],
      ["CPUWeight", "200"],
      ["RuntimeDirectory", FOLDER],
      ["RuntimeDirectoryMode", "0755"],
      ...common(settings),
      ...(settings.jobs === true ? [JOBS_PRIORITY] : []),
      ...network(settings),
    ],
    Install: [["WantedBy", "multi-user.target"]],
  });
}

/** What requests may do besides asking. */
function requestFlags({ webui, loraDir, jobs, jobMemoryBudget }: UnitSettings): string[] {
  return [
    ...(webui === false ? ["--no-webui"] : []),
    ...(loraDir === undefined ? [] : ["--lora-dir", loraDir]),
    ...(jobs === true ? ["--jobs-dir", `/var/lib/${FOLDER}/jobs`] : []),
    ...(jobMemoryBudget === undefined ? [] : ["--job-memory-budget", jobMemoryBudget]),
  ];
}

/** A job is a child of the service: if the kernel ends it for want of memory, the service stays. */
const JOBS_UNIT: Section = [
  ["#", "a job that is killed when memory is short goes on after its last checkpoint"],
  ["OOMPolicy", "continue"],
];

/** Behind HARDENING, whose filter it adds to: a job gives itself the lowest priority. */
const JOBS_PRIORITY = ["SystemCallFilter", "setpriority"] as const;

/**
 * systemd listens, and hands the socket to the service: it needs no network of its own, and connections
 * wait while it restarts.
 */
function socketUnit(listen: string): string {
  return format({
    Unit: [["Description", "graft: OpenAI's API over HTTP"]],
    Socket: [
      ["ListenStream", listen],
      ["Backlog", "128"],
      ["NoDelay", "yes"],
    ],
    Install: [["WantedBy", "sockets.target"]],
  });
}

/** Base, rows and configuration. */
function sourceFlags({ model, data, trainConfig }: UnitSettings): string[] {
  return [
    ...["--model", model, "--data", data],
    ...(trainConfig === undefined ? [] : ["--train-config", trainConfig]),
  ];
}

function promotionFlags({ margin, keep }: UnitSettings): string[] {
  return ["--promote-margin", String(margin), "--keep", String(keep)];
}

/** What training and merging may use, less than what answers. */
function trainingLimits(settings: UnitSettings): Section {
  return [
    ...STOPS_IN_ORDER,
    ["#", "what trains is killed before anything else, and the job writes that down"],
    ["OOMScoreAdjust", "500"],
    ["OOMPolicy", "continue"],
    ...shareOfTraining(settings),
  ];
}

function trainUnit(settings: UnitSettings): string {
  const words = ["train", ...sourceFlags(settings), ...promotionFlags(settings)];
  return format({
    Unit: [
      ["Description", "graft: where rows are new, train, evaluate, promote what is better"],
    ],
    Service: [
      ["Type", "oneshot"],
      ["ExecStart", command(settings, ...words)],
      ["TimeoutStartSec", "infinity"],
      ...trainingLimits(settings),
      ...common(settings),
      ...NO_NETWORK,
    ],
  });
}

function timerUnit({ schedule }: UnitSettings): string {
  return format({
    Unit: [["Description", "graft: when to look for new rows"]],
    Timer: [
      ["OnCalendar", schedule],
      ["RandomizedDelaySec", "10min"],
      ["#", "a box that was off at the time makes up for it"],
      ["Persistent", "yes"],
    ],
    Install: [["WantedBy", "timers.target"]],
  });
}

/** What the service may reach: nothing, unless it has to listen itself. */
function network({ listen, handsSocket }: UnitSettings): Section {
  if (listen === undefined || handsSocket === true) return NO_NETWORK;
  const isLocal = /^(127\.|\[::1\]|localhost)/.test(listen);
  return [
    ...(isLocal ? [["IPAddressDeny", "any"], ["IPAddressAllow", "localhost"]] as const : []),
    ["RestrictAddressFamilies", "AF_UNIX AF_INET AF_INET6"],
  ];
}

/** NVIDIA's nodes: desktop and server cards, the integrated GPU of a Jetson, and render nodes. */
const GPU_NODE = /^(nvidia(\d+|ctl|-modeset|-uvm|-uvm-tools)|nvgpu|nvhost-.*|nvmap)$/;

/**
 * The device nodes of a GPU that CUDA can use.
 *
 * @param names in `/dev`
 */
export function gpuDevices(names: readonly string[]): string[] {
  return names.filter((name) => GPU_NODE.test(name)).sort().map((name) => `/dev/${name}`);
}
