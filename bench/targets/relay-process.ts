/**
 * node relay-process.ts PORT
 *
 * Joins connections 0-1, 2-3, ... in the order they arrive and forwards what one sends to the
 * other: cut into messages, all messages of one turn of the event loop in one write.
 */
import { createServer, type Socket } from 'node:net'

const END = '</message>'

let waiting: Side | undefined

class Side {
  readonly #socket: Socket
  #peer: Side | undefined
  #rest = ''
  #pending = ''

  constructor(socket: Socket) {
    this.#socket = socket
    socket.setEncoding('latin1')
    socket.on('data', (chunk: string) => this.#read(chunk))
    socket.on('error', () => socket.destroy())
    socket.on('close', () => this.#leave())
  }

  join(peer: Side): void {
    this.#peer = peer
    peer.#peer = this
  }

  #read(chunk: string): void {
    const peer = this.#peer
    if (peer === undefined) return
    const text = this.#rest + chunk
    let from = 0
    for (;;) {
      const at = text.indexOf(END, from)
      if (at < 0) break
      const next = at + END.length
      peer.#send(text.slice(from, next))
      from = next
    }
    this.#rest = text.slice(from)
  }

  #send(message: string): void {
    if (this.#pending === '') setImmediate(() => this.#flush())
    this.#pending += message
  }

  #flush(): void {
    this.#socket.write(this.#pending, 'latin1')
    this.#pending = ''
  }

  #leave(): void {
    const peer = this.#peer
    if (peer !== undefined) peer.#socket.destroy()
    // It was alone, as whoever only looks whether the port is open.
    if (waiting === this) waiting = undefined
  }
}

const server = createServer({ noDelay: true }, (socket) => {
  const side = new Side(socket)
  if (waiting === undefined) {
    waiting = side
  } else {
    waiting.join(side)
    waiting = undefined
  }
})
server.listen({ port: Number(process.argv[2]), host: '127.0.0.1', backlog: 4096 })
