import { assertEquals } from "@std/assert";
import { dirname, join } from "@std/path";
import { device } from "../../src/system/device.ts";
import { inTempDir } from "../helpers/temp_dir.ts";

/** What a Jetson Orin Nano has, as the kernel and NVIDIA's package write it. */
const ORIN: Readonly<Record<string, string>> = {
  "proc/device-tree/model": "NVIDIA Jetson Orin Nano Engineering Reference Developer Kit Super\0",
  "etc/nv_tegra_release":
    "# R36 (release), REVISION: 4.3, GCID: 38968081, BOARD: generic, EABI: aarch64\n",
  "var/lib/nvpmodel/status": "pmode:0002 fmode:quiet\n",
  "sys/devices/system/cpu/cpu0/cpufreq/scaling_governor": "schedutil\n",
};
/** And a PC. */
const PC: Readonly<Record<string, string>> = {
  "sys/class/dmi/id/product_name": "ThinkCentre M70q\n",
  "sys/devices/system/cpu/cpu0/cpufreq/scaling_governor": "powersave\n",
};

function deviceWith(files: Readonly<Record<string, string>>) {
  return inTempDir((root) => {
    for (const [path, text] of Object.entries(files)) {
      Deno.mkdirSync(join(root, dirname(path)), { recursive: true });
      Deno.writeTextFileSync(join(root, path), text);
    }
    return Promise.resolve(device(root));
  });
}

Deno.test("device() reads a Jetson's model, release, power mode and governor", async () => {
  assertEquals(await deviceWith(ORIN), {
    model: "NVIDIA Jetson Orin Nano Engineering Reference Developer Kit Super",
    l4t: { release: "36.4.3", jetPack: 6 },
    powerMode: "2",
    governor: "schedutil",
  });
});

Deno.test("device() takes a PC's model from its firmware, and tells what is missing as that", async () => {
  assertEquals(await deviceWith(PC), {
    model: "ThinkCentre M70q",
    l4t: undefined,
    powerMode: undefined,
    governor: "powersave",
  });
  assertEquals((await deviceWith({})).model, undefined);
});
