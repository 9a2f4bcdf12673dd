/** What `systemd-analyze` says of the units that `graft service install` writes. */
import { join } from "@std/path";
import { unitFiles, type UnitSettings } from "../../src/service/units.ts";

/** Settings of units on a machine without a GPU. */
export const UNIT_SETTINGS: UnitSettings = {
  exec: ["/bin/true"],
  model: "default",
  data: "/var/lib/graft/data",
  schedule: "*-*-* 02:00:00",
  margin: 0.01,
  keep: 3,
  memoryMax: "60%",
  trainMemoryMax: "60%",
  socketMode: "600",
  devices: [],
  deviceGroups: [],
  environment: {},
  fleet: { url: "https://fleet.example:8000", insecure: false },
  follow: {
    server: "tls://nats.example.com",
    bucket: "graft",
    box: "mill-1",
    publicKey: "/opt/graft/fleet.pub",
    secrets: { creds: "/root/box.creds" },
    flags: [],
  },
};

/** The same with one. */
export const GPU_UNIT_SETTINGS: UnitSettings = {
  ...UNIT_SETTINGS,
  devices: ["/dev/nvidia0", "/dev/nvidiactl", "/dev/nvidia-uvm"],
  deviceGroups: ["video"],
};

/** Runs `systemd-analyze` to its end. */
export function analyze(...args: string[]) {
  const { code, stdout, stderr } = new Deno.Command("systemd-analyze", { args }).outputSync();
  const decoder = new TextDecoder();
  return { code, stdout: decoder.decode(stdout), stderr: decoder.decode(stderr) };
}

export interface UnitExposure {
  readonly unit: string;
  readonly gpu: boolean;
  /** From 0, the best, to 10. */
  readonly exposure: number;
  /** What it is made of. */
  readonly table: string;
}

/** The exposure of each service without and with a GPU; unit files are written into the folder. */
export function unitExposures(folder: string): UnitExposure[] {
  return [false, true].flatMap((gpu) =>
    [...unitFiles(gpu ? GPU_UNIT_SETTINGS : UNIT_SETTINGS)]
      .filter(([unit]) => unit.endsWith(".service"))
      .map(([unit, text]) => {
        const path = join(folder, unit);
        Deno.writeTextFileSync(path, text);
        const { stdout, stderr } = analyze("security", "--offline=true", "--no-pager", path);
        const exposure = /exposure level for \S+: ([\d.]+)/.exec(stdout)?.[1];
        if (exposure === undefined) throw new Error(`No exposure of ${unit}: ${stderr}`);
        return { unit, gpu, exposure: Number(exposure), table: stdout };
      })
  );
}
