import { assertEquals } from "@std/assert";
import { type Host, KINDS, wayTo } from "../../scripts/campaigns/processors/ways.ts";

const FLAGS = "fpu sse4_1 avx avx2 fma avx512f avx_vnni avx512_vnni amx_int8";

const host = (flags: string, more: Partial<Host> = {}): Host => ({
  ...{ arch: "x86_64", flags: new Set(flags.split(" ")), deno: "deno" },
  mask: () => ({ env: { LD_PRELOAD: "mask.so" } }),
  emulatorOf: (arch) => ({ command: [`qemu-${arch}`], deno: `deno-${arch}` }),
  ...more,
});

const unable = { mask: () => ({ missing: "no gcc" }) };

Deno.test("wayTo() hides what the processor has and the kind lacks", () => {
  const levels = ["avx512-vnni", "avx2", "sse4"].map((name) => wayTo(KINDS[name], host(FLAGS)));
  assertEquals(
    levels,
    ["1", "2", "3"].map((CPUID_LEVEL) => ({
      ...{ how: "hidden", command: ["deno"], env: { LD_PRELOAD: "mask.so", CPUID_LEVEL } },
    })),
  );
});

Deno.test("wayTo() runs as it is what the processor is", () => {
  const asItIs = { how: "as it is", command: ["deno"], env: {} } as const;
  assertEquals(wayTo(KINDS.avx2, host("sse4_1 avx2 fma", unable)), asItIs);
  assertEquals(wayTo(KINDS.sse4, host("sse4_1 avx", unable)), asItIs);
});

Deno.test("wayTo() emulates other architectures, and what cannot be hidden", () => {
  const emulated = (command: string[]) => ({ how: "emulated" as const, command, env: {} });
  assertEquals(
    wayTo(KINDS["cortex-a72"], host(FLAGS)),
    emulated(["qemu-arm64", "-cpu", "cortex-a72", "deno-arm64"]),
  );
  const haswell = emulated(["qemu-x64", "-cpu", "Haswell", "deno-x64"]);
  assertEquals(wayTo(KINDS.avx2, host(FLAGS, unable)), haswell);
  assertEquals(wayTo(KINDS.avx2, host("", { arch: "aarch64" })), haswell);
});

Deno.test("wayTo() tells all that is missing", () => {
  assertEquals(wayTo(KINDS["avx512-vnni"], host(FLAGS, unable)), {
    missing: "no gcc; qemu has none like it",
  });
  assertEquals(wayTo(KINDS["avx512-vnni"], host("avx2 fma")), {
    missing: "this processor lacks avx512_vnni; qemu has none like it",
  });
  const bare = { ...unable, emulatorOf: () => ({ missing: "no qemu" }) };
  assertEquals(wayTo(KINDS.avx2, host(FLAGS, bare)), { missing: "no gcc; no qemu" });
});
