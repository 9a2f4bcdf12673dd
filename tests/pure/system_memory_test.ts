import { assertEquals } from "@std/assert";
import { cgroupMemory, freeSwapBytes, parseProcessStatus } from "../../src/system/memory.ts";

Deno.test("parseProcessStatus() reads kibibytes, and no memory as zero", () => {
  const text =
    "Name:\tdeno\nVmHWM:\t    2048 kB\nVmRSS:\t    1024 kB\nRssAnon:\t     768 kB\nRssFile:\t     256 kB\n";
  assertEquals(parseProcessStatus(text), {
    rssBytes: 1048576,
    peakRssBytes: 2097152,
    anonymousBytes: 786432,
    fileBytes: 262144,
  });
  assertEquals(parseProcessStatus("Name:\tkthreadd\n").rssBytes, 0);
});

const files = (table: Record<string, string>) => (path: string): string | undefined => table[path];

Deno.test("cgroupMemory() finds the group with the least left among all above", () => {
  const read = files({
    "/proc/self/cgroup": "0::/system.slice/graft.service\n",
    "/sys/fs/cgroup/system.slice/graft.service/memory.max": "max\n",
    "/sys/fs/cgroup/system.slice/memory.max": "1000\n",
    "/sys/fs/cgroup/system.slice/memory.current": "900\n",
    "/sys/fs/cgroup/memory.max": "500\n",
    "/sys/fs/cgroup/memory.current": "100\n",
  });
  assertEquals(cgroupMemory(read), { limitBytes: 1000, usedBytes: 900 });
});

Deno.test("cgroupMemory() does not count files' pages that the kernel drops first", () => {
  const stat = "anon 300\nfile 600\nactive_file 100\ninactive_file 500\n";
  const second = {
    "/proc/self/cgroup": "0::/a\n",
    "/sys/fs/cgroup/a/memory.max": "1000\n",
    "/sys/fs/cgroup/a/memory.current": "900\n",
    "/sys/fs/cgroup/a/memory.stat": stat,
  };
  assertEquals(cgroupMemory(files(second)), { limitBytes: 1000, usedBytes: 400 });
  const first = {
    "/proc/self/cgroup": "4:memory:/a\n",
    "/sys/fs/cgroup/memory/a/memory.limit_in_bytes": "1000\n",
    "/sys/fs/cgroup/memory/a/memory.usage_in_bytes": "900\n",
    "/sys/fs/cgroup/memory/a/memory.stat": `${stat}total_inactive_file 600\n`,
  };
  assertEquals(cgroupMemory(files(first)), { limitBytes: 1000, usedBytes: 300 });
});

Deno.test("cgroupMemory() reads the first version's files, where no limit is a huge one", () => {
  const table = {
    "/proc/self/cgroup": "5:cpu,cpuacct:/a\n4:memory:/docker/1\n",
    "/sys/fs/cgroup/memory/memory.limit_in_bytes": "2000\n",
    "/sys/fs/cgroup/memory/memory.usage_in_bytes": "50\n",
  };
  assertEquals(cgroupMemory(files(table)), { limitBytes: 2000, usedBytes: 50 });
  const none = { ...table, "/sys/fs/cgroup/memory/memory.limit_in_bytes": "9223372036854771712\n" };
  assertEquals(cgroupMemory(files(none)), undefined);
  assertEquals(cgroupMemory(files({})), undefined);
});

Deno.test("cgroupMemory() finds a group above the namespace that the process was put into", () => {
  const read = files({
    "/proc/self/cgroup": "4:memory:/../../system.slice/graft.service\n",
    "/sys/fs/cgroup/memory/system.slice/graft.service/memory.limit_in_bytes": "2000\n",
    "/sys/fs/cgroup/memory/system.slice/graft.service/memory.usage_in_bytes": "50\n",
  });
  assertEquals(cgroupMemory(read), { limitBytes: 2000, usedBytes: 50 });
});

Deno.test("freeSwapBytes() is what the machine and every group above have left", () => {
  const machine = { "/proc/meminfo": "SwapTotal:  8 kB\nSwapFree:  4 kB\n" };
  assertEquals(freeSwapBytes(files(machine)), 4096);
  const grouped = {
    ...machine,
    "/proc/self/cgroup": "0::/a/b\n",
    "/sys/fs/cgroup/a/b/memory.swap.max": "max\n",
    "/sys/fs/cgroup/a/memory.swap.max": "3000\n",
    "/sys/fs/cgroup/a/memory.swap.current": "1000\n",
  };
  assertEquals(freeSwapBytes(files(grouped)), 2000);
  assertEquals(freeSwapBytes(files({ ...grouped, "/sys/fs/cgroup/memory.swap.max": "0\n" })), 0);
  assertEquals(freeSwapBytes(files({})), 0);
});

Deno.test("freeSwapBytes() takes the first version's limit of memory and swap together", () => {
  const group = "/sys/fs/cgroup/memory/a";
  const table = {
    "/proc/meminfo": "SwapFree:  4 kB\n",
    "/proc/self/cgroup": "4:memory:/a\n0::/a\n",
    [`${group}/memory.limit_in_bytes`]: "1000\n",
    [`${group}/memory.usage_in_bytes`]: "900\n",
    [`${group}/memory.memsw.limit_in_bytes`]: "2500\n",
    [`${group}/memory.memsw.usage_in_bytes`]: "1100\n",
  };
  assertEquals(freeSwapBytes(files(table)), 1300);
  // Files' pages that the kernel can drop are memory, not swap.
  const cached = { ...table, [`${group}/memory.stat`]: "total_inactive_file 600\n" };
  assertEquals(freeSwapBytes(files(cached)), 1300);
  const none = { ...table, [`${group}/memory.memsw.limit_in_bytes`]: "9223372036854771712\n" };
  assertEquals(freeSwapBytes(files(none)), 4096);
});
