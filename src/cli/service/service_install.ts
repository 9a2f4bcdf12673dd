/** `graft service install`: writes the units and starts them. */
import { join, resolve } from "@std/path";
import { EXIT, RefusedError, UsageError } from "../../errors.ts";
import { FINE_TUNE_PARAMETERS } from "../../finetune/parameters.ts";
import { findModelFile } from "../../model/find_model.ts";
import {
  checkRoot,
  checkVisible,
  copyModel,
  copyProgram,
  INSTALL_PATHS,
  removeOtherUnits,
  systemctl,
  systemdRuns,
  writeShared,
  writeUnits,
} from "../../service/install.ts";
import { takesSockets } from "../../http/listen.ts";
import { checkListens, httpAddress, readKeys } from "./http_flags.ts";
import { gpuDevices, unitFiles, UNITS, type UnitSettings } from "../../service/units.ts";
import { listKernelFolder, readKernelFile } from "../../system/kernel_files.ts";
import { command } from "../command.ts";
import { parseConfig } from "../../config/file.ts";
import { kebab } from "../../config/parameter.ts";
import { checkFleetTraining } from "../../fleet/rounds/box_config.ts";
import type { FineTuneConfig } from "../../finetune/config.ts";
import { superLinkUrl } from "../fleet/superlink_url.ts";
import { boolean, integer, list, text, type Values } from "../flags.ts";
import { readTextFile } from "../../system/small_file.ts";
import { ADAPTER_FLAGS, FINE_TUNING_FLAGS, WEBUI_FLAG } from "../serve/request_flags.ts";
import { DEFAULT_STATE, fileMode, MODEL_FLAG } from "./service_flags.ts";
import { FOLLOW_FLAGS, followSettings } from "./follow_flags.ts";
import { JOB_FLAGS } from "./service_train.ts";

const TRAINING = "Training";
const LIMITS = "Limits";
const HTTP = "Requests over HTTP";
const FLEET = "A fleet that learns";
const INSTALLING = "Installing";

/** Names of files beside the program. */
const TRAIN_CONFIG = "train.yaml";
const PUBLIC_KEY = "fleet.pub";

/** Groups that own the GPU's nodes. */
const GPU_GROUPS = ["video", "render"];

/** Flags that mean something only with `--listen`. */
const HTTP_FLAGS = {
  apiKeyFile: text("File of keys for it, one a line; needed for other machines", {
    placeholder: "FILE",
    group: HTTP,
  }),
  webui: { ...WEBUI_FLAG, group: HTTP },
  loraDir: { ...ADAPTER_FLAGS.loraDir, group: HTTP },
  jobs: boolean(`Take files and fine-tuning jobs from requests, in ${DEFAULT_STATE}/jobs`, {
    default: false,
    group: HTTP,
  }),
  jobMemoryBudget: { ...FINE_TUNING_FLAGS.jobMemoryBudget, group: HTTP },
} as const;

/** Flags that mean something only with `--fleet`. */
const FLEET_FLAGS = {
  fleetInsecure: boolean("Talk to it in plain HTTP", { default: false, group: FLEET }),
  fleetRootCertificates: text("Certificates to trust besides the system's, PEM", {
    placeholder: "FILE",
    group: FLEET,
  }),
  fleetRank: integer("This box's own rank, where the fleet stacks adapters", {
    min: 1,
    group: FLEET,
  }),
} as const;

const FLAGS = {
  ...MODEL_FLAG,
  data: text(`Folder with all training rows; ${DEFAULT_STATE}/data if absent`, {
    placeholder: "DIR",
    group: TRAINING,
  }),
  trainConfig: { ...JOB_FLAGS.trainConfig, group: TRAINING },
  schedule: text("When to look for new rows, in the format of systemd's OnCalendar", {
    default: "*-*-* 02:00:00",
    placeholder: "CALENDAR",
    group: TRAINING,
  }),
  promoteMargin: { ...JOB_FLAGS.promoteMargin, group: TRAINING },
  keep: { ...JOB_FLAGS.keep, group: TRAINING },
  memoryMax: text("Memory limit of the service, in systemd's format", {
    default: "60%",
    placeholder: "SIZE",
    group: LIMITS,
  }),
  trainMemoryMax: text("Memory limit of the training", {
    default: "60%",
    placeholder: "SIZE",
    group: LIMITS,
  }),
  cpuQuota: text("Limit of the service's processor time, 150% for one and a half cores", {
    placeholder: "SHARE",
    group: LIMITS,
  }),
  trainCpuQuota: text("Limit of the training's processor time", {
    placeholder: "SHARE",
    group: LIMITS,
  }),
  socketMode: text("Who may ask: 600 for root only, 666 for everybody on this machine", {
    default: "600",
    placeholder: "MODE",
    group: LIMITS,
  }),
  listen: text("Address at which OpenAI's API is answered, 127.0.0.1:8080; none if absent", {
    placeholder: "HOST:PORT",
    group: HTTP,
  }),
  ...HTTP_FLAGS,
  fleet: text("Address of a Flower SuperLink in whose rounds the box trains; none if absent", {
    placeholder: "URL",
    group: FLEET,
  }),
  ...FLEET_FLAGS,
  ...FOLLOW_FLAGS,
  exec: list(
    "Command that starts graft, instead of a copy of this program: for a checkout, words with commas",
    { placeholder: "WORDS", group: INSTALLING },
  ),
  start: boolean("Start the service and the timer, now and at boot", {
    default: true,
    group: INSTALLING,
  }),
  dryRun: boolean("Print the units, and change nothing", {
    default: false,
    group: INSTALLING,
  }),
};

export default command({
  name: "service install",
  summary: "Write hardened systemd units for the service and its training, and start them",
  flags: FLAGS,
  examples: [
    {
      command: "sudo graft service install --model ./smollm2-int4 --schedule 'Sat 03:00'",
      does: "trains on Saturdays on all that is in /var/lib/graft/data then",
    },
    {
      command:
        "sudo graft service install --model ./smollm2-int4 --fleet https://fleet.example:8000",
      does: "trains in the rounds of a fleet, too; no process with a network can see a row",
    },
    {
      command: "sudo graft service install --follow tls://nats.example.com --public-key fleet.pub",
      does: "also follows a fleet: graft help fleet",
    },
    {
      command: "graft service install --train-config train.yaml --train-memory-max 2G --dry-run",
      does: "prints units in which the training has at most 2 GB",
    },
  ],
  needs: ["run"],
  async run({ flags, given, terminal }) {
    checkListens(flags.listen, HTTP_FLAGS, given);
    checkFleet(flags, given);
    const config = checkedConfig(flags);
    const follow = followSettings(flags, given, join(INSTALL_PATHS.program, PUBLIC_KEY));
    const settings = { ...settingsOf(flags, config), follow };
    if (flags.dryRun) {
      for (const [name, text] of unitFiles(settings)) {
        terminal.print(`# ${INSTALL_PATHS.units}/${name}\n${text}`);
      }
      terminal.note(`Nothing was written: without --dry-run these go to ${INSTALL_PATHS.units}`);
      return EXIT.ok;
    }
    checkRoot("install");
    const running = systemdRuns();
    if (flags.start && !running) {
      throw new RefusedError(
        "systemd does not run here, and nothing was written: --no-start writes all of it for a system " +
          "that starts later, --dry-run prints the units",
      );
    }
    const report = (line: string) => terminal.print(line);
    if (flags.exec === undefined) copyProgram(Deno.execPath(), INSTALL_PATHS, report);
    const model = await copyModel(flags.model, INSTALL_PATHS, report);
    if (config !== undefined) writeShared(TRAIN_CONFIG, config, INSTALL_PATHS, report);
    if (flags.follow !== undefined) {
      writeShared(PUBLIC_KEY, readTextFile(flags.publicKey!), INSTALL_PATHS, report);
    }
    const files = unitFiles({ ...settings, model });
    await removeOtherUnits(files, INSTALL_PATHS, report);
    writeUnits(files, INSTALL_PATHS, report);
    if (running) await systemctl(["daemon-reload"], report);
    if (!flags.start) return EXIT.ok;
    const started = [
      ...(files.has(UNITS.socket) ? [UNITS.socket] : []),
      UNITS.service,
      UNITS.timer,
      ...(settings.fleet === undefined ? [] : [UNITS.fleetPath, UNITS.fleet]),
      ...(files.has(UNITS.follow) ? [UNITS.applyPath, UNITS.follow] : []),
    ];
    await systemctl(["enable", ...started], report);
    terminal.note("Starting: the service is ready when its model has answered");
    // A socket cannot be restarted while its service runs.
    if (files.has(UNITS.socket)) await systemctl(["stop", UNITS.service], report);
    await systemctl(["restart", ...started], report);
    terminal.print(
      `Add rows to learn from in ${settings.data}; graft service status reports what happens`,
    );
    return EXIT.ok;
  },
});

type InstallFlags = Values<typeof FLAGS>;

/**
 * Refuses what the units could not start with.
 *
 * @returns the text of `--train-config`
 */
function checkedConfig(flags: InstallFlags): string | undefined {
  if (flags.exec === undefined && !Deno.build.standalone) {
    throw new UsageError(
      "graft service install needs the compiled program (`deno task compile`), which it copies: from " +
        "a checkout, --exec names a command, e.g. --exec /usr/bin/deno,run,-A,/srv/graft/src/cli/main.ts",
    );
  }
  fileMode(flags.socketMode);
  if (flags.listen !== undefined) httpAddress(flags.listen, flags.apiKeyFile !== undefined);
  if (flags.apiKeyFile !== undefined) readKeys(flags.apiKeyFile);
  if (flags.data !== undefined) checkVisible(flags.data, "--data");
  if (flags.loraDir !== undefined) checkVisible(flags.loraDir, "--lora-dir");
  if (flags.exec !== undefined) checkVisible(flags.exec[0], "--exec");
  findModelFile(flags.model);
  if (flags.trainConfig === undefined) return undefined;
  const config = readTextFile(flags.trainConfig);
  const parameters = parseConfig(config, FINE_TUNE_PARAMETERS, flags.trainConfig);
  if (flags.fleet !== undefined) checkFleetTraining(parameters as Partial<FineTuneConfig>);
  return config;
}

function checkFleet(flags: InstallFlags, given: ReadonlySet<string>): void {
  if (flags.fleet !== undefined) {
    superLinkUrl(flags.fleet, flags.fleetInsecure);
    if (flags.fleetRootCertificates !== undefined) readTextFile(flags.fleetRootCertificates);
    return;
  }
  const stray = Object.keys(FLEET_FLAGS).find((key) => given.has(key));
  if (stray === undefined) return;
  throw new UsageError(`--${kebab(stray)} is for a box of a fleet: give --fleet, too`);
}

function settingsOf(flags: InstallFlags, config: string | undefined): UnitSettings {
  const ortLib = Deno.env.get("GRAFT_ORT_LIB");
  if (ortLib !== undefined) checkVisible(ortLib, "GRAFT_ORT_LIB");
  const devices = gpuDevices(listKernelFolder("/dev"));
  return {
    exec: flags.exec ?? [`${INSTALL_PATHS.program}/bin/graft`],
    model: flags.model,
    data: flags.data ?? `${DEFAULT_STATE}/data`,
    trainConfig: config === undefined ? undefined : join(INSTALL_PATHS.program, TRAIN_CONFIG),
    schedule: flags.schedule,
    margin: flags.promoteMargin,
    keep: flags.keep,
    memoryMax: flags.memoryMax,
    trainMemoryMax: flags.trainMemoryMax,
    cpuQuota: flags.cpuQuota,
    trainCpuQuota: flags.trainCpuQuota,
    socketMode: flags.socketMode,
    listen: flags.listen,
    handsSocket: takesSockets(),
    apiKeyFile: flags.apiKeyFile && resolve(flags.apiKeyFile),
    ...{ webui: flags.webui, loraDir: flags.loraDir },
    ...{ jobs: flags.jobs, jobMemoryBudget: flags.jobMemoryBudget },
    fleet: flags.fleet === undefined ? undefined : {
      url: superLinkUrl(flags.fleet, flags.fleetInsecure),
      insecure: flags.fleetInsecure,
      rootCertificates: flags.fleetRootCertificates && resolve(flags.fleetRootCertificates),
      rank: flags.fleetRank,
    },
    devices,
    deviceGroups: devices.length === 0 ? [] : knownGroups(GPU_GROUPS),
    environment: ortLib === undefined ? {} : { GRAFT_ORT_LIB: ortLib },
  };
}

/** Those of the groups that this machine has: a unit that names another does not start. */
function knownGroups(names: readonly string[]): string[] {
  const known = new Set(
    (readKernelFile("/etc/group") ?? "").split("\n").map((line) => line.split(":")[0]),
  );
  return names.filter((name) => known.has(name));
}
