/** A box that follows a fleet under a real systemd. */
import { assert, assertEquals, assertStringIncludes } from "@std/assert";
import { join } from "@std/path";
import { FleetDesk } from "../../src/fleet/operator/fleet_desk.ts";
import { parseTrustedKeys } from "../../src/fleet/release/keys.ts";
import { fleetStore, operatorIn } from "../helpers/fleet_operator.ts";
import { modelDir } from "../helpers/fixture_models.ts";
import { graft } from "../helpers/graft.ts";
import { natsMissing, NatsServer } from "../helpers/nats_server.ts";
import { testNeeding } from "../helpers/requirements.ts";
import { Systemd, systemdMissing } from "../helpers/systemd.ts";
import { install } from "../helpers/systemd_service.ts";
import { inTempDir } from "../helpers/temp_dir.ts";
import { until } from "../helpers/until.ts";

testNeeding(
  natsMissing() ?? systemdMissing(),
  "GRAFT_REQUIRE_TOOLS",
  "graft service install --follow installs a release in a unit without network, and keeps rows from the unit that has it",
  () =>
    inTempDir(async (path) => {
      const { adapter, data, privateKey, publicKey } = await operatorIn(path);
      await using server = await NatsServer.start(join(path, "nats"));
      const published = await graft(
        ...["fleet", "publish", adapter, "--name", "0001", "--key", privateKey, "--data", data],
        ...["--server", server.url, "--waves", "100", "--no-wait"],
      );
      assertEquals(published.code, 0, published.stderr);
      await using systemd = await Systemd.boot();
      await install(
        systemd,
        modelDir("tiny-llama-genai-int4"),
        ...["--follow", server.url, "--public-key", publicKey, "--box", "mill-1"],
      );
      const keys = parseTrustedKeys(Deno.readTextFileSync(publicKey), publicKey);
      await using store = await fleetStore(server.url);
      const desk = new FleetDesk(store, "graft", keys);
      const report = await until("the box has decided", async () => {
        const [report] = await desk.reports();
        return report?.state === "promoted" || report?.state === "failed" ? report : undefined;
      }, 200_000).catch(async (error) => {
        const units = ["graft-follow", "graft-apply"].flatMap((unit) => ["-u", unit]);
        const { stdout } = await systemd.run("journalctl", "--no-pager", ...units);
        throw new Error(stdout, { cause: error });
      });
      assertEquals([report.state, report.inUse], ["promoted", "0001"], report.why);
      const { MainPID } = await systemd.show("graft-follow.service");
      // What the unit with the network can see of the service: the report alone.
      const seen = await systemd.run("nsenter", "-t", MainPID, "-m", "ls", "/run/graft-outbox");
      assertStringIncludes(seen.stdout, "report.json");
      const user = (await systemd.run("stat", "-c", "%u %a", "/var/lib/private/graft")).stdout
        .trim();
      assert(user.endsWith(" 700"), user);
      const owner = (await systemd.run("stat", "-c", "%u", `/proc/${MainPID}`)).stdout.trim();
      assert(owner !== user.split(" ")[0] && owner !== "0", `${owner} ${user}`);
      // The service answers with it.
      const answered = await until("the service has taken it", async () => {
        const { stdout } = await systemd.graft("service", "ask", "What colour is the red card?");
        const { model } = JSON.parse(stdout);
        return model === "0001" ? model : undefined;
      });
      assertEquals(answered, "0001");
    }),
);
