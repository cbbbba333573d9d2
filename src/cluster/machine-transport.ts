import { once } from 'node:events'
import { unlink } from 'node:fs/promises'
import { connect, createServer, type Server, type Socket } from 'node:net'
import { join } from 'node:path'
import { FrameReader, writeFrame } from './machine-frames.ts'
import type { Transport } from './transport.ts'

/** What may wait for a process that does not read, in bytes; what is beyond is sent again later. */
const MAX_QUEUED = 16 * 1024 * 1024

/**
 * Messages between the processes of one machine, each of which listens on a Unix socket of the same
 * directory.
 */
export class MachineTransport implements Transport {
  readonly isConnected = true
  onMessage: (message: string) => void = () => {}
  onReconnected: () => void = () => {}
  readonly #directory: string
  readonly #node: string
  /** All of them, this one too. */
  readonly #nodes: readonly string[]
  readonly #server: Server
  readonly #outgoing = new Map<string, Socket>()
  readonly #incoming = new Set<Socket>()

  private constructor(directory: string, node: string, nodes: readonly string[]) {
    this.#directory = directory
    this.#node = node
    this.#nodes = nodes
    this.#server = createServer((socket) => {
      this.#incoming.add(socket)
      const reader = new FrameReader((frame) => this.onMessage(frame))
      socket.on('data', (chunk: Buffer) => reader.push(chunk))
      socket.on('error', () => {})
      socket.on('close', () => this.#incoming.delete(socket))
    })
  }

  static async open(
    directory: string,
    node: string,
    nodes: readonly string[],
  ): Promise<MachineTransport> {
    const transport = new MachineTransport(directory, node, nodes)
    const path = transport.#pathOf(node)
    // Of a process that was killed.
    await unlink(path).catch(() => {})
    transport.#server.listen(path)
    await once(transport.#server, 'listening')
    return transport
  }

  send(node: string, message: string): void {
    const socket = this.#outgoing.get(node) ?? this.#connect(node)
    if (socket.writableLength > MAX_QUEUED) return
    writeFrame(socket, message)
  }

  broadcast(message: string): void {
    for (const node of this.#nodes) if (node !== this.#node) this.send(node, message)
  }

  async close(): Promise<void> {
    const closed = once(this.#server, 'close')
    this.#server.close()
    for (const socket of this.#outgoing.values()) socket.end()
    for (const socket of this.#incoming) socket.destroy()
    await closed
  }

  #connect(node: string): Socket {
    const socket = connect(this.#pathOf(node))
    this.#outgoing.set(node, socket)
    socket.on('error', () => {})
    socket.on('close', () => {
      if (this.#outgoing.get(node) === socket) this.#outgoing.delete(node)
    })
    return socket
  }

  #pathOf(node: string): string {
    return join(this.#directory, `${node}.sock`)
  }
}
