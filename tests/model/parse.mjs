// Reads DTDL models with Microsoft's parser: node parse.mjs FILE...
// Prints each fault; the exit code is 1 if there is one. So that its silence means something, the parser must also refuse
// spoilt copies of each model.
import { readFileSync } from "node:fs";
import { createParser, ModelParsingOption } from "@azure/dtdl-parser";

const spoilt = {
  "an unknown type": (model) => (model.contents[0].schema = "text"),
  "a name with a hyphen": (model) => (model.contents[0].name = "the-name"),
  "a name that is there twice": (model) => (model.contents[0].name = model.contents[1].name),
  "an array in a property": (model) => (model.contents[0].schema = { "@type": "Array", elementSchema: "string" }),
  "six levels": (model) => {
    let schema = "string";
    for (let level = 0; level < 6; level += 1) {
      schema = { "@type": "Object", fields: [{ name: "below", schema }] };
    }
    model.contents[0].schema = schema;
  },
  "a description of 513 characters": (model) => (model.contents[0].description = "x".repeat(513)),
  "an identifier without a version": (model) => (model["@id"] = "dtmi:example:Model"),
};

async function faults(text) {
  try {
    await createParser(ModelParsingOption.None).parse([text]);
    return [];
  } catch (error) {
    const each = error._parsingErrors ?? error.parsingErrors ?? [];
    return each.length ? each.map((fault) => `${fault.cause} ${fault.action}`) : [String(error.message ?? error)];
  }
}

let wrong = 0;
for (const file of process.argv.slice(2)) {
  const text = readFileSync(file, "utf8");
  for (const fault of await faults(text)) {
    console.log(`${file}: ${fault}`);
    wrong += 1;
  }
  for (const [what, spoil] of Object.entries(spoilt)) {
    const model = JSON.parse(text);
    spoil(model);
    if ((await faults(JSON.stringify(model))).length === 0) {
      console.log(`${file}: the parser takes ${what}, so it does not check this`);
      wrong += 1;
    }
  }
}
process.exit(wrong ? 1 : 0);
