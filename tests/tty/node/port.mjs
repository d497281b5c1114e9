// Uses a port with node-serialport, and prints what it found as JSON. The port has a loopback plug.
import { setTimeout as pause } from "node:timers/promises";
import { SerialPort } from "serialport";

const port = new SerialPort({ path: process.argv[2], baudRate: 19200, dataBits: 7, parity: "even", autoOpen: false });
const call = (method, ...rest) =>
  new Promise((resolve, reject) => port[method](...rest, (error, value) => (error ? reject(error) : resolve(value))));

async function lines(wanted) {
  for (;;) {
    const found = await call("get");
    if (Object.keys(wanted).every((name) => found[name] === wanted[name])) return found;
    await pause(10);
  }
}

async function echoed(text) {
  let found = "";
  port.on("data", (data) => (found += data));
  await call("write", text);
  await call("drain");
  while (found.length < text.length) await pause(10);
  port.removeAllListeners("data");
  return found;
}

const result = {};
await call("open");
result.echo = await echoed("through node");
result.raised = await lines({ cts: true, dsr: true, dcd: true });
await call("set", { dtr: false, rts: true });
result.withoutDtr = await lines({ cts: true, dsr: false });
await call("set", { dtr: true, rts: false });
result.withoutRts = await lines({ cts: false, dsr: true });
await call("set", { brk: true });
await call("set", { brk: false });
await call("update", { baudRate: 57600 });
await call("flush");
result.again = await echoed("again");
await call("close");
console.log(JSON.stringify(result));
