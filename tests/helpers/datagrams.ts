/**
 * A socket as the service manager has it: run as a program, prints each datagram as a line of JSON.
 * Deno's own datagram sockets need an unstable flag, which tests do not have.
 */
import { fromFileUrl } from "@std/path";

/** What came to a socket so far. */
export interface Datagrams extends AsyncDisposable {
  readonly received: string[];
}

/** Listens on a path until it is disposed of. */
export async function listenDatagrams(path: string): Promise<Datagrams> {
  const child = new Deno.Command(Deno.execPath(), {
    args: ["run", "-A", "--no-check", "--unstable-net", fromFileUrl(import.meta.url), path],
    stdin: "null",
    stdout: "piped",
  }).spawn();
  const received: string[] = [];
  const lines = child.stdout.pipeThrough(new TextDecoderStream());
  let pending = "";
  let listening = () => {};
  const ready = new Promise<void>((resolve) => listening = resolve);
  const reading = (async () => {
    for await (const chunk of lines) {
      pending += chunk;
      const whole = pending.split("\n");
      pending = whole.pop()!;
      for (const line of whole) {
        if (line === "listening") listening();
        else received.push(JSON.parse(line));
      }
    }
  })();
  await ready;
  return {
    received,
    async [Symbol.asyncDispose]() {
      child.kill("SIGKILL");
      await child.status;
      await reading;
    },
  };
}

if (import.meta.main) {
  const socket = Deno.listenDatagram({ transport: "unixpacket", path: Deno.args[0] });
  console.log("listening");
  for await (const [bytes] of socket) console.log(JSON.stringify(new TextDecoder().decode(bytes)));
}
