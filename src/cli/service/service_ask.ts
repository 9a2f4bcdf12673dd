/** `graft service ask`: sends a text to the running service. */
import { TextLineStream } from "@std/streams";
import { EXIT, RuntimeFailure, UsageError } from "../../errors.ts";
import { command } from "../command.ts";
import { SOCKET_FLAG, socketPath } from "./service_flags.ts";

export default command({
  name: "service ask",
  summary: "Ask the running service, and print its answer as JSON",
  operands: "TEXT…",
  maxOperands: Infinity,
  flags: { ...SOCKET_FLAG },
  examples: [
    {
      command: "sudo graft service ask we could use a lamp over here",
      does: "prints the answer's JSON; without sudo where --socket-mode lets others ask",
    },
  ],
  needs: ["net"],
  async run({ flags, operands, terminal }) {
    const text = operands.join(" ").replaceAll(/\s*\n\s*/g, " ");
    if (text === "") {
      throw new UsageError("graft service ask needs a text: `graft service ask TEXT`");
    }
    const answer = await ask(socketPath(flags), text);
    terminal.print(answer);
    const { error } = JSON.parse(answer);
    if (error === undefined) return EXIT.ok;
    return error.status === "busy" || error.status === "ending" ? EXIT.tryAgain : EXIT.refused;
  },
});

async function ask(path: string, text: string): Promise<string> {
  try {
    using connection = await Deno.connect({ transport: "unix", path });
    // For a rejected client the connection is closed, with the reason in it.
    const sent = new Blob([`${text}\n`]).stream().pipeTo(connection.writable, {
      preventClose: true,
    }).catch((error: Error) => error);
    const lines: ReadableStream<string> = connection.readable
      .pipeThrough(new TextDecoderStream()).pipeThrough(new TextLineStream());
    for await (const line of lines) return line;
    throw (await sent) ?? new Error("it ended the connection");
  } catch (cause) {
    throw new RuntimeFailure(
      `The service does not answer on ${path}: ${(cause as Error).message}; is it running? ` +
        "(graft service status)",
      { cause },
    );
  }
}
