// TCP echo client on QuickJS: HOST PORT COUNT (127.0.0.1 8080 1).
// Sends COUNT numbered messages over one connection and compares what comes back.
import { instanceNetwork } from 'wasi:sockets/instance-network@0.2.12';
import { createTcpSocket } from 'wasi:sockets/tcp-create-socket@0.2.12';
import { getStdout } from 'wasi:cli/stdout@0.2.12';
import { getArguments } from 'wasi:cli/environment@0.2.12';

// QuickJS has neither TextEncoder nor console; the messages are ASCII.
const encode = (text) => Uint8Array.from(text, (character) => character.charCodeAt(0));
const decode = (bytes) => String.fromCharCode(...bytes);
const print = (...words) => getStdout().blockingWriteAndFlush(encode(`${words.join(' ')}\n`));
const drop = (resource) => resource[Symbol.dispose ?? Symbol.for('dispose')]();

function connect(address, port) {
  const network = instanceNetwork();
  const socket = createTcpSocket('ipv4');
  socket.startConnect(network, { tag: 'ipv4', val: { port, address } });
  const connected = socket.subscribe();
  for (;;) {
    connected.block();
    try {
      const [input, output] = socket.finishConnect();
      drop(connected);
      return { network, socket, input, output };
    } catch (error) {
      if ((error.payload ?? error) !== 'would-block') throw error;
    }
  }
}

function receive(input, size) {
  let text = '';
  while (text.length < size) text += decode(input.blockingRead(size - text.length));
  return text;
}

export const run = {
  run() {
    const [, host = '127.0.0.1', port = '8080', count = '1'] = getArguments();
    const { network, socket, input, output } = connect(host.split('.').map(Number), Number(port));
    let total = 0;
    for (let i = 0; i < Number(count); i++) {
      const message = `message ${i} from JavaScript`;
      output.blockingWriteAndFlush(encode(message));
      const answer = receive(input, message.length);
      if (answer !== message) throw new Error(`sent ${message}, got ${answer}`);
      total += answer.length;
    }
    print('echoed', total, 'bytes in', count, 'round trips');
    // Children before parents: left to the garbage collector, their order would be chance, and a host traps
    // when a socket goes before what was made from it.
    for (const resource of [output, input, socket, network]) drop(resource);
  },
};
