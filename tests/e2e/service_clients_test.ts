/** A share of `campaign:clients`. */
import { assertEquals } from "@std/assert";
import { join } from "@std/path";
import { modelDir } from "../helpers/fixture_models.ts";
import { withService } from "../helpers/running_service.ts";
import { amongCrowds } from "../helpers/service_crowds.ts";
import { inTempDir } from "../helpers/temp_dir.ts";

Deno.test("graft service run answers a client among crowds that are slow, silent, many or do not read", () =>
  inTempDir(async (path) => {
    const model = modelDir("tiny-llama-genai-int4");
    const service = { model, state: join(path, "state"), socket: join(path, "socket") };
    await withService(service, async () => {
      for await (const { what, faults } of amongCrowds(service.socket, 0.3, 0.25)) {
        assertEquals([what, faults], [what, []]);
      }
    });
  }));
