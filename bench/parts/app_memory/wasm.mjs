// Runs app.py in MicroPython for WebAssembly, whose pointers have 32 bits as a board's have.
// Arguments: micropython.mjs, the folder of the device's flash, hours.
import fs from "node:fs";
import path from "node:path";
import { pathToFileURL } from "node:url";

const [module, folder, hours] = process.argv.slice(2);
const { loadMicroPython } = await import(pathToFileURL(module));
const mp = await loadMicroPython({ stdout: (line) => console.log(line) });

function copy(from, to) {
  for (const entry of fs.readdirSync(from, { withFileTypes: true })) {
    const [source, target] = [path.join(from, entry.name), `${to}/${entry.name}`];
    if (entry.isDirectory()) {
      mp.FS.mkdirTree(target);
      copy(source, target);
    } else {
      mp.FS.writeFile(target, fs.readFileSync(source));
    }
  }
}

try {
  mp.FS.mkdirTree(folder); // board.json names files by their whole paths
  copy(folder, folder);
  mp.runPython(`
import gc, sys
sys.path[:0] = ["${folder}/a", "${folder}/host"]
from bench.parts.app_memory.app import Day
day = Day("${folder}", ${hours})
collect = gc.collect
`);
  // Each attribute that is fetched from Python stays until a collection of our own: these are fetched once.
  const collect = mp.globals.get("collect"); // takes place when the call has returned
  for (const line of ["day.load()", "day.surround()", "day.start()", "step, sample = day.time.step, day.sample"]) {
    mp.runPython(line);
    collect();
  }
  const [step, sample] = ["step", "sample"].map((name) => mp.globals.get(name));
  for (let steps = 1; step(); steps++) {
    if (steps % 5 == 0) {
      collect();
      sample();
    }
  }
  mp.runPython("print(day.found())");
} catch (error) {
  console.error(error.message); // without the line of the module that has thrown it, which is the whole of it
  process.exit(1);
}
