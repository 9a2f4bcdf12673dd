import { assert, assertEquals } from "@std/assert";
import { Metrics } from "../../src/http/metrics.ts";

const linesOf = async (metrics: Metrics, name: string) =>
  (await metrics.text()).split("\n").filter((line) => line.startsWith(name));

Deno.test("Metrics has the temperature of each zone as it is when it is asked for, the hottest of one name", async () => {
  let readings = [
    { name: "cpu-thermal", celsius: 41.5 },
    { name: "acpitz", celsius: 60 },
    { name: "acpitz", celsius: 27.8 },
  ];
  const metrics = new Metrics(() => 2, () => 1000, {
    temperatures: () => readings,
    freeBytes: () => 5000,
  });
  const temperatures = () => linesOf(metrics, "graft_temperature_celsius");
  assertEquals((await temperatures()).sort(), [
    'graft_temperature_celsius{zone="acpitz"} 60',
    'graft_temperature_celsius{zone="cpu-thermal"} 41.5',
  ]);
  assertEquals(await linesOf(metrics, "graft_memory_available_bytes"), [
    "graft_memory_available_bytes 5000",
  ]);
  readings = [{ name: "cpu-thermal", celsius: 50 }];
  assertEquals(await temperatures(), ['graft_temperature_celsius{zone="cpu-thermal"} 50']);
});

Deno.test("Metrics without sensors or a known memory has no figures of them", async () => {
  const metrics = new Metrics(() => 0, () => 0, {
    temperatures: () => [],
    freeBytes: () => undefined,
  });
  assertEquals(await linesOf(metrics, "graft_temperature_celsius"), []);
  assertEquals(await linesOf(metrics, "graft_requests_in_work"), ["graft_requests_in_work 0"]);
  assert(!(await metrics.text()).includes("NaN"));
});
