/** A fleet's release carried by Mender and by a folder: written by graft, installed by Mender's own client. */
import { assertEquals, assertMatch, assertNotEquals, assertStringIncludes } from "@std/assert";
import { dirname, fromFileUrl, join } from "@std/path";
import { fleetStore, operatorIn } from "../helpers/fleet_operator.ts";
import { modelDir } from "../helpers/fixture_models.ts";
import { commandLine, graft } from "../helpers/graft.ts";
import { testNeeding, toolMissing } from "../helpers/requirements.ts";
import { inTempDir } from "../helpers/temp_dir.ts";

const MODEL = modelDir("tiny-llama-genai-int4");
const PAGE = fromFileUrl(new URL("../../docs/rollout.md", import.meta.url));
const MODULES = "/usr/share/mender/modules/v3";

/** The update module of docs/rollout.md, for this graft and other paths. */
function updateModule(path: string, publicKey: string): string {
  const script = Deno.readTextFileSync(PAGE).match(/^#!\/bin\/sh\n(.*\n)*?esac$/m)?.[0] ?? "";
  assertStringIncludes(script, "graft fleet follow", PAGE);
  const program = join(path, "graft");
  const words = commandLine([]).map((word) => `'${word}'`).join(" ");
  Deno.writeTextFileSync(program, `#!/bin/sh\nexec ${words} "$@"\n`, { mode: 0o755 });
  return script.replaceAll("graft fleet", `${program} fleet`)
    .replaceAll("graft service", `${program} service`)
    .replaceAll("/var/lib/graft", join(path, "state"))
    .replace("/srv/model", `${MODEL} --threads 1 --inbox ${join(path, "inbox")}`)
    .replace("/etc/graft/fleet.pub", publicKey);
}

/** A box with Mender's client, which sees modules and settings of its own. */
class MenderBox {
  readonly #folder: string;

  constructor(folder: string, module: string) {
    this.#folder = folder;
    for (const name of ["modules", "etc", "state"]) {
      Deno.mkdirSync(join(folder, name), { recursive: true });
    }
    Deno.writeTextFileSync(join(folder, "modules/graft"), module, { mode: 0o755 });
    Deno.writeTextFileSync(join(folder, "etc/mender.conf"), "{}");
    Deno.writeTextFileSync(join(folder, "etc/artifact_info"), "artifact_name=factory\n");
    Deno.writeTextFileSync(join(folder, "state/device_type"), "device_type=mill\n");
  }

  async run(...args: string[]) {
    const { modules, etc, state } = this.#places();
    const { code, stdout, stderr } = await new Deno.Command("unshare", {
      args: [
        "--mount",
        ...[
          "sh",
          "-ec",
          'mount --bind "$1" "$2"; mount --bind "$3" /etc/mender; shift 3; exec "$@"',
        ],
        ...["sh", modules, MODULES, etc, "mender", "--no-syslog", "--log-level", "info"],
        ...["--data", state, "--config", "/etc/mender/mender.conf", ...args],
      ],
      stdin: "null",
      env: { GRAFT_BOX: "mill-1" },
    }).output();
    const text = new TextDecoder();
    return { code, output: text.decode(stdout) + text.decode(stderr) };
  }

  /** Name of the artifact that is installed. */
  async installed(): Promise<string> {
    const { output } = await this.run("--log-level", "error", "show-artifact");
    return output.trim();
  }

  #places() {
    const at = (name: string) => join(this.#folder, name);
    return { modules: at("modules"), etc: at("etc"), state: at("state") };
  }
}

function missing(): string | undefined {
  if (Deno.uid() !== 0) return "only root can give Mender's client modules of its own";
  return toolMissing("mender", ["--help"]) ?? toolMissing("mender-artifact");
}

testNeeding(
  missing(),
  "GRAFT_REQUIRE_TOOLS",
  "graft fleet export writes what Mender's client installs if the box promotes it, and rolls back otherwise",
  () =>
    inTempDir(async (path) => {
      const { adapter, data, privateKey: key, publicKey: pub } = await operatorIn(path);
      const server = ["--server", `file://${join(path, "store")}`];
      const released = async (name: string) => {
        const published = await graft(
          ...["fleet", "publish", adapter, "--name", name, "--key", key, "--data", data],
          ...["--waves", "100", "--no-wait", ...server],
        );
        assertEquals(published.code, 0, published.stderr);
        const file = join(path, `${name}.mender`);
        const written = await graft(
          ...["fleet", "export", file, "--public-key", pub, "-t", "mill", "-t", "press", ...server],
        );
        assertEquals(written.code, 0, written.stderr);
        return file;
      };
      const first = await released("0001");
      const read = await new Deno.Command("mender-artifact", { args: ["read", first] }).output();
      const text = new TextDecoder().decode(read.stdout);
      assertEquals(read.code, 0, new TextDecoder().decode(read.stderr));
      for (const line of ["Name: 0001", "Version: 3", "'[mill press]'", "Type:   graft"]) {
        assertStringIncludes(text, line);
      }

      const box = new MenderBox(join(path, "box"), updateModule(path, pub));
      const installed = await box.run("install", first);
      assertEquals(installed.code, 0, installed.output);
      assertEquals((await box.run("commit")).code, 0);
      assertEquals(await box.installed(), "0001");
      Deno.statSync(join(path, "state/models/0001/model/certificate.json"));

      // The same adapter again is no better than itself.
      const second = await box.run("install", await released("0002"));
      assertEquals(second.code, 1, second.output);
      assertMatch(second.output, /Rolling back Artifact/);
      assertEquals(await box.installed(), "0001");
      const { stdout } = await graft("service", "status", "--state", join(path, "state"), "--json");
      assertEquals(JSON.parse(stdout).in_use, "0001", stdout);

      // Bytes that the operator has not signed.
      const forged = await box.run("install", await damaged(first, path));
      assertEquals(forged.code, 1, forged.output);
      assertMatch(forged.output, /no trusted key has signed this order/);

      const folder = join(path, "stick");
      const copied = await graft("fleet", "export", folder, "--public-key", pub, ...server);
      assertEquals(copied.code, 0, copied.stderr);
      await using store = await fleetStore(server[1]);
      await using copy = await fleetStore(`file://${folder}`);
      assertEquals((await copy.order())?.bytes, (await store.order())?.bytes);
      assertEquals((await copy.pieces()).length > 0, true);
    }),
);

/** The artifact with another order, made whole again by Mender's own tool. */
async function damaged(artifact: string, path: string): Promise<string> {
  const folder = join(path, "damaged");
  Deno.mkdirSync(folder);
  const run = async (program: string, args: string[]) => {
    const { code, stderr } = await new Deno.Command(program, { args, cwd: folder }).output();
    assertEquals(code, 0, new TextDecoder().decode(stderr));
  };
  await run("tar", ["-xf", artifact]);
  await run("tar", ["-xf", join("data", "0000.tar")]);
  const order = join(folder, "order.dsse.json");
  const envelope = JSON.parse(Deno.readTextFileSync(order));
  const payload = atob(envelope.payload).replace('"why":"release', '"why":"forged');
  assertNotEquals(btoa(payload), envelope.payload);
  Deno.writeTextFileSync(order, JSON.stringify({ ...envelope, payload: btoa(payload) }));
  const files = [...Deno.readDirSync(folder)].map(({ name }) => name)
    .filter((name) => name === "order.dsse.json" || /^[0-9a-f]{64}$/.test(name));
  const forged = join(dirname(folder), "forged.mender");
  await run("mender-artifact", [
    ...["write", "module-image", "-T", "graft", "-n", "0003", "-t", "mill", "-o", forged],
    ...files.flatMap((file) => ["-f", file]),
  ]);
  return forged;
}
