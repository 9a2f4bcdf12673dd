/**
 * Copies what `graft service install` copies, in a process that a test watches: PROGRAM MODEL FOLDER MARKS.
 * Makes a folder in MARKS after each step.
 */
import { join } from "@std/path";
import { copyModel, copyProgram, writeShared, writeUnits } from "../../src/service/install.ts";

const [program, model, folder, marks] = Deno.args;
const mark = (step: string) => Deno.mkdirSync(join(marks, step));
const places = { program: join(folder, "opt/graft"), units: join(folder, "units") };
copyProgram(program, places, console.log);
mark("program");
await copyModel(model, places, console.log);
mark("model");
writeShared("train.yaml", "iters: 4\n", places, console.log);
mark("file");
writeUnits(new Map([["graft.service", "[Unit]\n"]]), places, console.log);
mark("units");
