import { assertEquals, assertThrows } from "@std/assert";
import fc from "fast-check";
import { dealRows } from "../../src/data/deal_rows.ts";
import { bucketsOf } from "../../src/distributed/gradient_buckets.ts";
import { launchedBy } from "../../src/distributed/launcher.ts";
import { UsageError } from "../../src/errors.ts";
import { hostParameter } from "../helpers/host_training.ts";

Deno.test("dealRows gives each row to one process, in order, and evens out rows and tokens", () =>
  fc.assert(fc.property(
    fc.array(fc.integer({ min: 1, max: 512 }), { minLength: 0, maxLength: 40 }),
    fc.integer({ min: 1, max: 7 }),
    (lengths, of) => {
      const chosen = Uint32Array.from(lengths, (_, i) => lengths.length - 1 - i);
      const rows = { tokenCount: (row: number) => lengths[row] };
      const parts = Array.from(
        { length: of },
        (_, index) => [...dealRows(chosen, rows, { index, of })],
      );
      assertEquals(parts.flat().sort((a, b) => b - a), [...chosen]);
      for (const part of parts) assertEquals(part, part.toSorted((a, b) => b - a));
      const counts = parts.map((part) => part.length);
      assertEquals(Math.max(...counts) - Math.min(...counts) <= 1, true);
      const tokens = parts.map((part) => part.reduce((sum, row) => sum + lengths[row], 0));
      // Dealt back and forth, two processes differ by one row at most.
      assertEquals(Math.max(...tokens) - Math.min(...tokens) <= Math.max(1, ...lengths), true);
    },
  )));

Deno.test("bucketsOf has each parameter once, from the last on, in buckets of a size where there are enough", () =>
  fc.assert(fc.property(
    fc.array(fc.integer({ min: 1, max: 60 }), { minLength: 1, maxLength: 30 }),
    fc.integer({ min: 1, max: 400 }),
    (sizes, bytes) => {
      const parameters = sizes.map((size, i) => hostParameter(`p${i}`, [size], []));
      const buckets = bucketsOf(parameters, bytes);
      assertEquals(
        buckets.flatMap(({ places }) => places.map(({ parameter }) => parameter.name)),
        parameters.map(({ name }) => name).reverse(),
      );
      for (const { places, size } of buckets) {
        const ends = places.map(({ start, size }) => start + size);
        assertEquals(places.map(({ start }) => start), [0, ...ends.slice(0, -1)]);
        assertEquals(ends.at(-1), size);
      }
      // Not one parameter more than it takes to fill a bucket.
      for (const { places, size } of buckets.slice(0, -1)) {
        assertEquals(4 * size >= bytes && 4 * (size - places.at(-1)!.size) < bytes, true);
      }
    },
  )));

Deno.test("launchedBy tells MPICH from Open MPI, and a job from a single process", () => {
  const under = (variables: Record<string, string>) => launchedBy((name) => variables[name]);
  assertEquals(under({}), undefined);
  assertEquals(under({ PMI_SIZE: "1" }), undefined);
  assertEquals(under({ PMI_SIZE: "many" }), undefined);
  assertEquals(under({ PMI_SIZE: "3" })?.libraries.map(({ kind }) => kind), ["standard", "mpich"]);
  assertEquals(under({ OMPI_COMM_WORLD_SIZE: "2" }), {
    size: 2,
    libraries: [{ path: "libmpi.so.40", kind: "openmpi" }],
  });
  assertEquals(under({ PMIX_RANK: "0" }), {
    libraries: [{ path: "libmpi.so.40", kind: "openmpi" }],
  });
  const named = (path: string, launcher: string) =>
    under({ [launcher]: "2", GRAFT_MPI_LIB: path })?.libraries;
  assertEquals(named("/opt/libmpi_abi.so.1", "PMI_SIZE"), [
    { path: "/opt/libmpi_abi.so.1", kind: "standard" },
  ]);
  assertEquals(named("/opt/libmpi.so.12", "PMI_SIZE")?.[0].kind, "mpich");
  assertEquals(named("/opt/libmpi.so", "OMPI_COMM_WORLD_SIZE")?.[0].kind, "openmpi");
  assertThrows(() => named("/opt/mpi.so", "PMI_SIZE"), UsageError, "/opt/mpi.so");
});
