import { assertEquals, assertMatch, assertStringIncludes } from "@std/assert";
import { gpuDevices, unitFiles, UNITS, type UnitSettings } from "../../src/service/units.ts";
import { execWord } from "../../src/service/unit_sections.ts";

const SETTINGS: UnitSettings = {
  exec: ["/opt/graft/bin/graft"],
  model: "/opt/graft/model",
  data: "/var/lib/graft/data",
  schedule: "Sat 03:00",
  margin: 0.02,
  keep: 4,
  memoryMax: "1G",
  trainMemoryMax: "2G",
  cpuQuota: "90%",
  trainCpuQuota: "150%",
  socketMode: "660",
  devices: [],
  deviceGroups: [],
  environment: {},
};

Deno.test("unitFiles() puts the settings into the units", () => {
  const files = unitFiles(SETTINGS);
  const { socket } = UNITS;
  assertEquals([...files.keys()], [UNITS.service, UNITS.train, UNITS.timer]);
  const service = files.get(UNITS.service)!;
  assertStringIncludes(
    service,
    "\nExecStart=/opt/graft/bin/graft service run --model /opt/graft/model --socket-mode 660",
  );
  for (
    const line of [
      "Type=notify",
      "MemoryMax=1G",
      "CPUQuota=90%",
      "DynamicUser=yes",
      "PrivateDevices=yes",
    ]
  ) {
    assertStringIncludes(service, `\n${line}\n`);
  }
  assertMatch(service, /\nWatchdogSec=\d+\n/);
  const train = files.get(UNITS.train)!;
  assertStringIncludes(train, "--data /var/lib/graft/data --promote-margin 0.02 --keep 4\n");
  for (const line of ["MemoryMax=2G", "CPUQuota=150%", "OOMPolicy=continue"]) {
    assertStringIncludes(train, `\n${line}\n`);
  }
  assertStringIncludes(files.get(UNITS.timer)!, "\nOnCalendar=Sat 03:00\n");
  const listening = unitFiles({
    ...SETTINGS,
    listen: "127.0.0.1:8080",
    handsSocket: true,
    apiKeyFile: "/etc/graft-keys",
  });
  assertStringIncludes(listening.get(socket)!, "\nListenStream=127.0.0.1:8080\n");
  const reached = listening.get(UNITS.service)!;
  assertStringIncludes(reached, " --listen 127.0.0.1:8080 --api-key-file /run/credentials/");
  assertStringIncludes(reached, "\nLoadCredential=api-keys:/etc/graft-keys\n");
  assertStringIncludes(reached, "\nPrivateNetwork=yes\n");
  // An older runtime takes no socket: the service listens itself, and reaches this machine alone.
  const itself = unitFiles({ ...SETTINGS, listen: "127.0.0.1:8080" });
  assertEquals(itself.get(socket), undefined);
  assertStringIncludes(itself.get(UNITS.service)!, "\nIPAddressAllow=localhost\n");
  assertEquals(itself.get(UNITS.service)!.includes("PrivateNetwork"), false);
  assertStringIncludes(itself.get(UNITS.train)!, "\nPrivateNetwork=yes\n");
});

Deno.test("unitFiles() keeps the network and the rows of a box that follows a fleet in units of their own", () => {
  const files = unitFiles({
    ...SETTINGS,
    follow: {
      server: "tls://nats.example.com:4222",
      bucket: "mills",
      box: "mill-1",
      publicKey: "/opt/graft/fleet.pub",
      secrets: { creds: "/root/box.creds" },
      flags: ["--js-domain=hall"],
    },
  });
  const [follow, apply] = [files.get(UNITS.follow)!, files.get(UNITS.apply)!];
  assertMatch(follow, /\nExecStart=\S+ fleet follow --server tls:\/\/nats.example.com:4222 /);
  assertStringIncludes(
    follow,
    " --creds /run/credentials/graft-follow.service/creds --js-domain=hall",
  );
  assertStringIncludes(follow, "\nLoadCredential=creds:/root/box.creds\n");
  assertEquals(follow.includes("PrivateNetwork"), false);
  // It has a user and a state of its own, and of the service's files the report alone.
  assertMatch(follow, /\nUser=graft-follow\nStateDirectory=graft-follow\n/);
  assertEquals(follow.match(/(Bind\w*Paths|ReadWritePaths)=.*/g), [
    "BindReadOnlyPaths=-/var/log/private/graft:/run/graft-outbox",
  ]);
  for (const line of ["PrivateNetwork=yes", "RestrictAddressFamilies=AF_UNIX", "MemoryMax=2G"]) {
    assertStringIncludes(apply, `\n${line}\n`);
  }
  assertMatch(apply, / --bucket mills --box mill-1 .* --promote-margin 0.02 --keep 4\n/);
  assertStringIncludes(files.get(UNITS.applyPath)!, "\nPathChanged=/var/lib/private/graft-follow/");
});

Deno.test("unitFiles() lets a job be killed for want of memory without the service", () => {
  const listen = { listen: "127.0.0.1:8080", handsSocket: true };
  const unit = unitFiles({
    ...{ ...SETTINGS, ...listen, webui: false, loraDir: "/srv/adapters" },
    ...{ jobs: true, jobMemoryBudget: "1G" },
  }).get(UNITS.service)!;
  assertStringIncludes(
    unit,
    " --no-webui --lora-dir /srv/adapters --jobs-dir /var/lib/graft/jobs --job-memory-budget 1G\n",
  );
  assertStringIncludes(unit, "\nOOMPolicy=continue\n");
  // A list of system calls grows in the order of its lines.
  const filter = [...unit.matchAll(/^SystemCallFilter=(.*)$/gm)].map(([, calls]) => calls);
  assertEquals(filter, ["@system-service", "~@privileged @resources", "setpriority"]);
  const without = unitFiles({ ...SETTINGS, ...listen }).get(UNITS.service)!;
  assertEquals([/OOMPolicy|setpriority|--jobs/.test(without)], [false]);
});

Deno.test("unitFiles() lets a unit at the GPU's nodes and no other device", () => {
  const devices = gpuDevices(["null", "nvidia0", "nvidia-uvm", "nvidiactl", "sda", "nvmap", "tty"]);
  assertEquals(devices, ["/dev/nvidia-uvm", "/dev/nvidia0", "/dev/nvidiactl", "/dev/nvmap"]);
  const unit = unitFiles({ ...SETTINGS, devices, deviceGroups: ["video"] }).get(UNITS.service)!;
  assertStringIncludes(unit, "\nDevicePolicy=closed\nDeviceAllow=/dev/nvidia-uvm rw\n");
  assertStringIncludes(unit, "\nSupplementaryGroups=video\n");
  assertEquals(unit.includes("PrivateDevices"), false);
});

Deno.test("unitFiles() keeps rows from the unit of a fleet that has a network, and the network from rows", () => {
  const fleet = { url: "https://fleet.example:8000", insecure: false, rank: 4 };
  const files = unitFiles({ ...SETTINGS, data: "/srv/rows", fleet });
  const [network, rows] = [files.get(UNITS.fleet)!, files.get(UNITS.fleetTrain)!];
  assertStringIncludes(network, "\nStateDirectory=graft-fleet\n");
  assertStringIncludes(network, "\nInaccessiblePaths=-/srv/rows\n");
  assertStringIncludes(network, "\nPrivateUsers=yes\n");
  assertEquals(network.includes("--data"), false);
  assertStringIncludes(
    network,
    "graft fleet join https://fleet.example:8000 --no-train --state /var/lib/graft-fleet\n",
  );
  assertStringIncludes(rows, "\nPrivateNetwork=yes\n");
  assertStringIncludes(rows, "\nStateDirectory=graft-fleet graft\n");
  assertMatch(rows, /graft fleet train .*--data \/srv\/rows .*--rank 4\n/);
  const own = unitFiles({ ...SETTINGS, fleet }).get(UNITS.fleet)!;
  assertEquals(own.includes("InaccessiblePaths"), false);
  assertStringIncludes(
    files.get(UNITS.fleetPath)!,
    "\nPathExists=/var/lib/graft-fleet/task/task.json\n",
  );
});

Deno.test("execWord() keeps systemd from expanding or splitting a word", () => {
  assertEquals(execWord("/opt/graft"), "/opt/graft");
  assertEquals(execWord("/srv/100%/$HOME"), "/srv/100%%/$$HOME");
  assertEquals(execWord('/srv/my "model"'), '"/srv/my \\"model\\""');
});
