// Node's modbus-serial as a server: `node server.js PORT CONTENT`, the content of foreign.py.
// A unit that is not there is answered as by a gateway: exception 0B.
"use strict";

const { ServerTCP } = require("modbus-serial");

const [port, text] = process.argv.slice(2);
const content = JSON.parse(text);

function refusal(code) {
  return Object.assign(new Error("refused"), { modbusErrorCode: code });
}

function table(unit, name) {
  if (!(unit in content.units)) throw refusal(0x0b);
  return content.units[unit][name];
}

function read(name) {
  return (address, unit) => {
    const cells = table(unit, name);
    if (!(address in cells)) throw refusal(0x02);
    if (name === "holding" && address in content.refuses) throw refusal(content.refuses[address]);
    return cells[address];
  };
}

function write(name) {
  return (address, value, unit) => {
    const cells = table(unit, name);
    if (!(address in cells)) throw refusal(0x02);
    cells[address] = Number(value);
  };
}

const server = new ServerTCP(
  {
    getCoil: read("coil"),
    getDiscreteInput: read("discrete"),
    getHoldingRegister: read("holding"),
    getInputRegister: read("input"),
    setCoil: write("coil"),
    setRegister: write("holding"),
    readDeviceIdentification: () => content.identity,
  },
  { host: "127.0.0.1", port: Number(port) },
);
server.on("initialized", () => console.log("ready"));
server.on("serverError", (error) => {
  console.error(error);
  process.exit(1);
});
