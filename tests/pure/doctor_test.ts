import { assert, assertEquals, assertStringIncludes } from "@std/assert";
import { canRun, type Finding } from "../../src/doctor/finding.ts";
import {
  deviceFindings,
  instructionSets,
  processorFindings,
  sensorFindings,
} from "../../src/doctor/hardware.ts";
import { folderFindings, memoryFindings } from "../../src/doctor/resources.ts";
import { libraryFindings } from "../../src/doctor/runtime.ts";
import { gpuFindings, systemdFindings, variableFindings } from "../../src/doctor/system.ts";
import { plainReason } from "../../src/runtime/providers.ts";
import { parseL4t } from "../../src/system/device.ts";

const levels = (findings: readonly Finding[]) =>
  Object.fromEntries(findings.map(({ id, level }) => [id, level]));

Deno.test("parseL4t() reads Jetson Linux's release file and knows its JetPack", () => {
  const line = "# R36 (release), REVISION: 4.3, GCID: 38968081, BOARD: generic, EABI: aarch64";
  assertEquals(parseL4t(line), { release: "36.4.3", jetPack: 6 });
  assertEquals(parseL4t("# R35 (release), REVISION: 6.0, GCID: 1")?.jetPack, 5);
  assertEquals(parseL4t("# R99 (release), REVISION: 1.0, GCID: 1"), {
    release: "99.1.0",
    jetPack: undefined,
  });
  assertEquals(parseL4t(""), undefined);
});

Deno.test("deviceFindings() names a Jetson with its release and power mode", () => {
  const found = deviceFindings({
    model: "NVIDIA Jetson Orin Nano Developer Kit",
    l4t: { release: "36.4.3", jetPack: 6 },
    powerMode: "1",
  });
  assertEquals(
    found[0].what,
    "NVIDIA Jetson Orin Nano Developer Kit, Jetson Linux 36.4.3 (JetPack 6)",
  );
  assertEquals(levels(found)["power.mode"], "hint");
});

Deno.test("processorFindings() warns without AVX2 or NEON, and hints where 8 bits are slow", () => {
  const level = (cpuinfo: string) =>
    levels(processorFindings({ name: "x", threads: 2 }, instructionSets(cpuinfo)))["cpu.simd"];
  assertEquals(level("flags\t\t: fpu sse4_2\n"), "warning");
  assertEquals(level("flags\t\t: fpu avx2 fma\n"), "hint");
  assertEquals(level("flags\t\t: fpu avx2 avx512f avx512_vnni\n"), "ok");
  assertEquals(level("Features\t: fp asimd asimddp\n"), "ok");
});

Deno.test("memoryFindings() says that nothing can be trained in too little memory", () => {
  const level = (freeBytes: number) =>
    levels(memoryFindings({ freeBytes, freeSwapBytes: 0 }))["memory.free"];
  assertEquals([level(2e8), level(6e8), level(8e9)], ["problem", "hint", "ok"]);
});

Deno.test("folderFindings() keeps training from a folder that is full or closed, not from a cache", () => {
  const state = { name: "cache", path: "/x", writable: true, freeBytes: 1e9 };
  assertEquals(levels(folderFindings(state))["folder.cache"], "ok");
  assertEquals(levels(folderFindings({ ...state, writable: false }))["folder.cache"], "warning");
  const here = { ...state, name: "here", neededFor: "training" };
  assertEquals(levels(folderFindings({ ...here, freeBytes: 1e6 }))["folder.here"], "problem");
  assertEquals(levels(folderFindings({ ...here, writable: false }))["folder.here"], "problem");
});

Deno.test("sensorFindings() warns of a hot box and tells of a battery that discharges", () => {
  const hot = sensorFindings([{ name: "cpu-thermal", celsius: 91 }], []);
  assertEquals(hot[0].level, "warning");
  assertStringIncludes(hot[0].what, "cpu-thermal at 91.0 °C");
  const low = sensorFindings([], [{ name: "BAT0", percent: 30, discharging: true }]);
  assertEquals(levels(low)["power.battery.BAT0"], "hint");
});

Deno.test("libraryFindings() warns of a provider that fails where there is a GPU for it", () => {
  const library = {
    path: "/lib/libonnxruntime.so",
    version: "1.30.0",
    providers: [
      { name: "CUDAExecutionProvider", state: "fails", failure: "libcudart.so.12: not found" },
      { name: "CPUExecutionProvider", state: "loads" },
    ] as const,
  };
  const level = (hasGpu: boolean) =>
    levels(libraryFindings(library, hasGpu))["ort.provider.CUDAExecutionProvider"];
  assertEquals([level(true), level(false)], ["warning", "ok"]);
  assert(canRun(libraryFindings(library, true)));
});

Deno.test("plainReason() leaves out where in its source ONNX Runtime noticed", () => {
  const message = "/onnxruntime_src/core/session/provider_bridge_ort.cc:1988 Get() FAIL : Failed " +
    "to load library /opt/libonnxruntime_providers_cuda.so with error: libcublas.so.12: cannot " +
    "open shared object file";
  assertEquals(
    plainReason(message),
    "/opt/libonnxruntime_providers_cuda.so: libcublas.so.12: cannot open shared object file",
  );
  assertEquals(plainReason("CUDA failure 100"), "CUDA failure 100");
  assertEquals(
    plainReason("webgpu_context.cc:136 status was false. Failed to get a WebGPU adapter: none"),
    "Failed to get a WebGPU adapter: none",
  );
});

Deno.test("gpuFindings() tells which devices this user may not open, and what to do", () => {
  const files = { exists: (path: string) => path.startsWith("/dev/nvhost"), usable: () => false };
  const [finding] = gpuFindings(files);
  assertEquals(finding.level, "warning");
  assertStringIncludes(finding.advice!, "video");
  assertEquals(gpuFindings({ exists: () => false, usable: () => true })[0].level, "ok");
});

Deno.test("systemdFindings() and variableFindings() tell what is there", () => {
  const running = { exists: (path: string) => path === "/run/systemd/system", usable: () => true };
  assertStringIncludes(systemdFindings(running)[0].what, "not installed");
  assertEquals(systemdFindings({ ...running, exists: () => false })[0].level, "hint");
  const found = variableFindings((name) => name === "HF_HOME" ? "/data/hf" : undefined);
  assertEquals(found.map(({ what }) => what), ["HF_HOME=/data/hf"]);
});
