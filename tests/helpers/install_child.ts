/** Copies what `graft service install` copies, in a process that a test watches: PROGRAM MODEL FOLDER. */
import { join } from "@std/path";
import { copyModel, copyProgram, writeShared, writeUnits } from "../../src/service/install.ts";

const [program, model, folder] = Deno.args;
const places = { program: join(folder, "opt/graft"), units: join(folder, "units") };
copyProgram(program, places, console.log);
await copyModel(model, places, console.log);
writeShared("train.yaml", "iters: 4\n", places, console.log);
writeUnits(new Map([["graft.service", "[Unit]\n"]]), places, console.log);
