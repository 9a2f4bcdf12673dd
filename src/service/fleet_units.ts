/**
 * The units by which a box learns with a fleet: one with a network that never sees a row, one with the rows and
 * without a network, and one that starts the second when the first has taken a task. They share a user and a
 * folder with tasks and replies. PrivateUsers gives each a user namespace of its own, so that the first cannot
 * look into the processes of the second either (cap_ptrace_access_check of the kernel).
 *
 * Source: systemd.path(5), systemd.exec(5).
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

export interface FleetUnitSettings {
  /** Address of the SuperLink. */
  readonly url: string;
  readonly insecure: boolean;
  /** File of certificates to trust, which only root need be able to read. */
  readonly rootCertificates?: string;
  /** The box's own rank. */
  readonly rank?: number;
}

/** What the training of a fleet shares with that of the service. */
export interface FleetTrainingSettings extends Surroundings {
  readonly exec: readonly string[];
  readonly model: string;
  readonly data: string;
  readonly trainConfig?: string;
  readonly trainMemoryMax: string;
  readonly trainCpuQuota?: string;
}

/** Names of the units. */
export const FLEET_UNITS = {
  fleet: "graft-fleet.service",
  fleetTrain: "graft-fleet-train.service",
  fleetPath: "graft-fleet-train.path",
} as const;

/** Folder under `/var/lib` of tasks, replies and the box's key. */
export const FLEET_FOLDER = "graft-fleet";
const STATE = `/var/lib/${FLEET_FOLDER}`;

/** Name of the certificates among the unit's credentials, and their path there. */
const CERTIFICATES = "root-certificates";
const CERTIFICATES_IN_UNIT = `/run/credentials/${FLEET_UNITS.fleet}/${CERTIFICATES}`;

/** Contents of the unit files by name. */
export function fleetUnitFiles(
  settings: FleetTrainingSettings,
  fleet: FleetUnitSettings,
): readonly (readonly [string, string])[] {
  return [
    [FLEET_UNITS.fleet, fleetUnit(settings, fleet)],
    [FLEET_UNITS.fleetTrain, trainUnit(settings, fleet)],
    [FLEET_UNITS.fleetPath, pathUnit()],
  ];
}

function command(exec: readonly string[], ...words: readonly string[]): string {
  return [...exec, "fleet", ...words].map(execWord).join(" ");
}

function fleetUnit(
  settings: FleetTrainingSettings,
  { url, insecure, rootCertificates }: FleetUnitSettings,
): string {
  return format({
    Unit: [
      ["Description", "graft: takes tasks from a fleet and sends it adapters"],
      ["Wants", "network-online.target"],
      ["After", "network-online.target"],
      ["StartLimitIntervalSec", "0"],
    ],
    Service: [
      ["Type", "exec"],
      [
        "ExecStart",
        command(
          settings.exec,
          ...["join", url, "--no-train", "--state", STATE],
          ...(insecure ? ["--insecure"] : []),
          ...(rootCertificates === undefined ? [] : ["--root-certificates", CERTIFICATES_IN_UNIT]),
        ),
      ],
      ["LoadCredential", rootCertificates && `${CERTIFICATES}:${rootCertificates}`],
      ["Restart", "on-failure"],
      ["RestartSec", "30"],
      ["TimeoutStopSec", "30"],
      ["KillMode", "mixed"],
      ...common({ ...settings, devices: [], deviceGroups: [] }, {
        folders: [FLEET_FOLDER],
        runs: false,
      }),
      ...hiddenData(settings.data),
      ["RestrictAddressFamilies", "AF_UNIX AF_INET AF_INET6"],
    ],
    Install: [["WantedBy", "multi-user.target"]],
  });
}

/** The folder of the service's own data is not among those that the unit sees. */
function hiddenData(data: string): Section {
  return data.startsWith(`/var/lib/${FOLDER}/`) ? [] : [["InaccessiblePaths", `-${data}`]];
}

function trainUnit(settings: FleetTrainingSettings, { rank }: FleetUnitSettings): string {
  const { exec, model, data, trainConfig } = settings;
  return format({
    Unit: [["Description", "graft: does the task that a fleet has given, on the box's own rows"]],
    Service: [
      ["Type", "oneshot"],
      [
        "ExecStart",
        command(
          exec,
          ...["train", "--state", STATE, "--service", `/var/lib/${FOLDER}`],
          ...["--model", model, "--data", data],
          ...(trainConfig === undefined ? [] : ["--train-config", trainConfig]),
          ...(rank === undefined ? [] : ["--rank", String(rank)]),
        ),
      ],
      ["TimeoutStartSec", "infinity"],
      ...STOPS_IN_ORDER,
      ["OOMScoreAdjust", "1000"],
      ...shareOfTraining(settings),
      ...common(settings, { folders: [FLEET_FOLDER, FOLDER] }),
      ...NO_NETWORK,
    ],
  });
}

function pathUnit(): string {
  return format({
    Unit: [["Description", "graft: starts the training when a fleet has given a task"]],
    Path: [["PathExists", `${STATE}/task/task.json`]],
    Install: [["WantedBy", "multi-user.target"]],
  });
}
