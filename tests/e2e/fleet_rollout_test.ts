/** A fleet with a real NATS server: publish, follow, waves, stop, rollback. */
import { assert, assertEquals, assertMatch, assertStringIncludes } from "@std/assert";
import { join } from "@std/path";
import { nkeys } from "@nats-io/transport-node";
import { FleetDesk } from "../../src/fleet/operator/fleet_desk.ts";
import { parseTrustedKeys } from "../../src/fleet/release/keys.ts";
import { encodeReport } from "../../src/fleet/release/report.ts";
import { releaseId } from "../../src/fleet/release/order.ts";
import { digestOf } from "../../src/fleet/operator/release_files.ts";
import { fleetStore, operatorIn } from "../helpers/fleet_operator.ts";
import { modelDir } from "../helpers/fixture_models.ts";
import { graft, graftProcess } from "../helpers/graft.ts";
import { natsMissing, NatsServer } from "../helpers/nats_server.ts";
import { reportOf } from "../helpers/releases.ts";
import { testNeeding } from "../helpers/requirements.ts";
import { inTempDir } from "../helpers/temp_dir.ts";

const MODEL = modelDir("tiny-llama-genai-int4");

async function succeeds(...args: string[]): Promise<string> {
  const { code, stdout, stderr } = await graft(...args);
  assertEquals(code, 0, stderr);
  return stdout;
}

testNeeding(
  natsMissing(),
  "GRAFT_REQUIRE_PYTHON",
  "graft fleet rolls an adapter out over NATS, which the box merges and measures, and stops one that boxes reject",
  () =>
    inTempDir(async (path) => {
      const { adapter, data, privateKey: key, publicKey: pub } = await operatorIn(path);
      assertEquals(Deno.statSync(key).mode! & 0o777, 0o600);
      await using server = await NatsServer.start(join(path, "nats"));
      const at = ["--server", server.url];
      const publish = (name: string, ...more: string[]) =>
        graft("fleet", "publish", adapter, "--name", name, "--key", key, ...at, ...more);
      const first = await publish("0001", "--data", data, "--waves", "100", "--no-wait");
      assertEquals(first.code, 0, first.stderr);

      const box = [
        ...["--box", "mill-1", "--public-key", pub, ...at, "--model", MODEL, "--threads", "1"],
        ...["--state", join(path, "state"), "--inbox", join(path, "inbox")],
      ];
      const follows = await graftProcess("fleet", "follow", ...box, "--apply", "--once");
      assertEquals(follows.code, 0, follows.stderr);
      const status = async () =>
        JSON.parse(await succeeds("fleet", "status", "--public-key", pub, ...at, "--json"));
      const { boxes: [mill], wave } = await status();
      assertEquals([mill.box, mill.inUse, mill.state], ["mill-1", "0001", "promoted"], mill.why);
      assert(mill.loss < mill.lossInUse && mill.gainKept > 0.9, JSON.stringify(mill));
      assertEquals([wave.boxes, wave.promoted], [1, 1]);
      Deno.statSync(join(path, "state/models/0001/model/certificate.json"));
      assertMatch(await succeeds("fleet", "advance", "--key", key, ...at), /1 of 1 boxes decided/);

      // A second release, which this box says that it rejects.
      const second = await publish("0002", "--waves", "1,100", "--no-wait");
      assertEquals(second.code, 0, second.stderr);
      {
        await using store = await fleetStore(server.url);
        const desk = new FleetDesk(
          store,
          "graft",
          parseTrustedKeys(Deno.readTextFileSync(pub), pub),
        );
        const { order } = await desk.newest();
        const report = reportOf("mill-1", order, "rejected", {
          loss: 2,
          lossInUse: 1,
          inUse: "0001",
        });
        await store.report("mill-1", encodeReport(report));
        const stopped = await graft("fleet", "advance", "--key", key, ...at);
        assertEquals(stopped.code, 1);
        assertStringIncludes(stopped.stderr, "Release 0002 was stopped: 1 of 1 boxes rejected it");
        const after = (await desk.newest()).order;
        assertEquals([after.target?.name, after.withdrawn], ["0001", [releaseId(order.target!)]]);
      }
      const page = join(path, "fleet.html");
      assertStringIncludes(
        await succeeds("fleet", "status", "--public-key", pub, ...at, "--page", page),
        "mill-1  0001",
      );
      assertMatch(Deno.readTextFileSync(page), /<td>mill-1<\/td>/);

      assertMatch(await succeeds("fleet", "rollback", "--key", key, ...at), /back from 0001/);
      const again = await graftProcess("fleet", "follow", ...box, "--apply", "--once");
      assertEquals(again.code, 0, again.stderr);
      const { boxes: [back] } = await status();
      assertEquals([back.state, back.inUse], ["settled", "base"]);
    }),
);

testNeeding(
  natsMissing(),
  "GRAFT_REQUIRE_PYTHON",
  "NatsStore keeps orders in sequence, gives back pieces, and finds those that are damaged",
  () =>
    inTempDir(async (path) => {
      await using server = await NatsServer.start(path);
      await using store = await fleetStore(server.url);
      await store.create();
      assertEquals(await store.order(), undefined);
      const bytes = (text: string) => new TextEncoder().encode(text);
      await store.putOrder(bytes("first"), undefined);
      const { revision } = (await store.order())!;
      await store.putOrder(bytes("second"), revision);
      for (const after of [revision, undefined]) {
        const late = await store.putOrder(bytes("third"), after).catch((error) => error);
        assertMatch(late.message, /Somebody else has given an order/);
      }
      const orders = await store.orders();
      assertEquals(orders.map((order) => new TextDecoder().decode(order)), ["second", "first"]);

      const piece = new Uint8Array(300_000).map((_, i) => i);
      const digest = "44a1a23f4c09eae4e1a1bd1e8bd2a6d1aee1a5b0a6b9d2e5a6a1b7c8d9e0f1a2";
      const right = digestOf(piece);
      await store.putPiece(right, piece);
      assertEquals(await store.piece(right, piece.length), piece);
      await store.putPiece(digest, piece);
      const refusals: [string, number, RegExp][] = [
        [digest, piece.length, /piece 44a1\w+ of the release is damaged: its SHA-256 is/],
        [right, 200_000, /it has more than the 200000 bytes of the order/],
        [right, 300_001, /it ends after 300000 of 300001 bytes/],
        ["0".repeat(64), 1, /piece 0+ is missing/],
      ];
      for (const [name, size, why] of refusals) {
        const error = await store.piece(name, size).catch((error) => error);
        assertMatch(error.message, why);
        assertEquals(error.exitCode, 65);
      }
      assertEquals((await store.pieces()).sort(), [right, digest].sort());
      await store.removePiece(digest);
      assertEquals(await store.pieces(), [right]);

      // A new order wakes those who wait for one.
      const start = performance.now();
      const last = (await store.order())!.revision;
      const waits = store.changed(last, 20_000, new AbortController().signal);
      await store.putOrder(bytes("third"), last);
      await waits;
      assert(performance.now() - start < 15_000);
    }),
);

testNeeding(
  natsMissing(),
  "GRAFT_REQUIRE_PYTHON",
  "graft fleet takes NATS's credentials and TLS, and says which of them the server refuses",
  () =>
    inTempDir(async (path) => {
      const certificate = await new Deno.Command("openssl", {
        args: [
          ...[
            "req",
            "-x509",
            "-newkey",
            "ed25519",
            "-nodes",
            "-days",
            "2",
            "-subj",
            "/CN=localhost",
          ],
          ...["-addext", "subjectAltName=DNS:localhost,IP:127.0.0.1"],
          ...["-addext", "basicConstraints=critical,CA:FALSE"],
          ...["-keyout", join(path, "tls.key"), "-out", join(path, "tls.crt")],
        ],
      }).output();
      assertEquals(certificate.code, 0, new TextDecoder().decode(certificate.stderr));
      await succeeds("fleet", "keygen", "--save-path", join(path, "fleet"));
      const user = nkeys.createUser();
      Deno.writeFileSync(join(path, "user.nk"), user.getSeed());
      const config = `authorization { users: [{ user: "operator", password: "secret" }, ` +
        `{ nkey: "${user.getPublicKey()}" }] }\n` +
        `tls { cert_file: "${path}/tls.crt", key_file: "${path}/tls.key" }`;
      await using server = await NatsServer.start(join(path, "nats"), config);
      const url = `tls://127.0.0.1:${server.port}`;
      const rollback = (...flags: string[]) =>
        graft("fleet", "rollback", "--key", join(path, "fleet.key"), "--server", url, ...flags);
      const ca = ["--tlsca", join(path, "tls.crt")];
      // The server lets these in: there is no bucket yet.
      const known = await rollback(...ca, "--user", "operator", "--password", "secret");
      assertMatch(known.stderr, /there is no such bucket/);
      const signed = await rollback(...ca, "--nkey", join(path, "user.nk"));
      assertMatch(signed.stderr, /there is no such bucket/);
      const wrong = await rollback(...ca, "--user", "operator", "--password", "guess");
      assertEquals(wrong.code, 77, wrong.stderr);
      assertMatch(wrong.stderr, /refuses access/);
      const stranger = await rollback("--user", "operator", "--password", "secret");
      assertEquals(stranger.code, 75, stranger.stderr);
      assertMatch(stranger.stderr, /certificate/i);

      await using plain = await NatsServer.start(join(path, "plain"));
      const stripped = await graft(
        ...["fleet", "rollback", "--key", join(path, "fleet.key")],
        ...["--server", `tls://127.0.0.1:${plain.port}`],
      );
      assertEquals(stripped.code, 75);
      assertMatch(stripped.stderr, /does not support 'tls'/);
      const creds = await rollback("--creds", join(path, "fleet.pub"));
      assertEquals(creds.code, 65, creds.stderr);
    }),
);

testNeeding(
  natsMissing(),
  "GRAFT_REQUIRE_PYTHON",
  "the rights that docs/rollout.md gives a box are enough to follow, and for no other box's report",
  () =>
    inTempDir(async (path) => {
      const page = Deno.readTextFileSync(new URL("../../docs/rollout.md", import.meta.url));
      const rights = /\npermissions \{[\s\S]*?\n\}/.exec(page)![0];
      const config = `authorization { users: [{ user: "operator", password: "o" }, ` +
        `{ user: "mill", password: "m" ${rights} }] }`;
      await using server = await NatsServer.start(path, config);
      const as = (user: string, password: string) => fleetStore(server.url, { user, password });
      await using operator = await as("operator", "o");
      await operator.create();
      const bytes = (text: string) => new TextEncoder().encode(text);
      const piece = bytes("adapter");
      await operator.putPiece(digestOf(piece), piece);
      await operator.putOrder(bytes("order"), undefined);

      await using box = await as("mill", "m");
      const { revision } = (await box.order())!;
      assertEquals(await box.piece(digestOf(piece), piece.length), piece);
      const waits = box.changed(revision, 20_000, new AbortController().signal);
      await operator.putOrder(bytes("another"), revision);
      await waits;
      assertEquals(new TextDecoder().decode((await box.order())!.bytes), "another");
      await box.report("mill-1", bytes("{}"));
      for (
        const refused of [box.report("mill-2", bytes("{}")), box.putOrder(bytes("x"), revision + 1)]
      ) {
        const error = await refused.then(() => undefined, (error) => error);
        assertEquals(error?.exitCode, 77, error?.message);
      }
      assertEquals([...(await operator.reports()).keys()], ["mill-1"]);
    }),
);
