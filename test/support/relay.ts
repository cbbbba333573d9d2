import { once } from 'node:events'
import { type AddressInfo, connect, createServer, type Server, type Socket } from 'node:net'

/** Passes bytes on between two parties, until the test wants it otherwise. */
export class Relay implements AsyncDisposable {
  readonly #server: Server
  readonly #sockets = new Set<Socket>()
  #isDown = false
  #isSilent = false

  private constructor(server: Server) {
    this.#server = server
  }

  static async start(
    to: { readonly host: string; readonly port: number },
    host = '127.0.0.1',
    port = 0,
  ): Promise<Relay> {
    const server = createServer((near) => relay.#pass(near, to))
    const relay = new Relay(server)
    await once(server.listen(port, host), 'listening')
    return relay
  }

  get address(): { readonly host: string; readonly port: number } {
    const { address: host, port } = this.#server.address() as AddressInfo
    return { host, port }
  }

  /** How many connections there are. */
  get count(): number {
    return this.#sockets.size / 2
  }

  /** Breaks all connections, without a word; new ones are passed on. */
  cut(): void {
    for (const socket of this.#sockets) socket.destroy()
  }

  /** Passes nothing on any more: those who wait for an answer wait. */
  hang(): void {
    for (const socket of this.#sockets) socket.pause()
    for (const socket of this.#sockets) socket.unpipe()
  }

  /** New connections are broken off, too. */
  goDown(): void {
    this.#isDown = true
    this.cut()
  }

  /** As if the cable were cut: whoever is connected, or connects, hears nothing any more. */
  silence(): void {
    this.#isSilent = true
    this.hang()
  }

  /** What was connected meanwhile is broken. */
  comeBack(): void {
    this.#isDown = false
    if (this.#isSilent) this.cut()
    this.#isSilent = false
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.cut()
    if (!this.#server.listening) return
    this.#server.close()
    await once(this.#server, 'close')
  }

  #pass(near: Socket, to: { readonly host: string; readonly port: number }): void {
    if (this.#isDown) {
      near.destroy()
      return
    }
    if (this.#isSilent) {
      this.#sockets.add(near)
      near.on('error', () => {})
      near.on('close', () => this.#sockets.delete(near))
      near.pause()
      return
    }
    const far = connect(to)
    for (const [one, other] of [
      [near, far],
      [far, near],
    ] as const) {
      this.#sockets.add(one)
      one.pipe(other)
      one.on('error', () => other.destroy())
      one.on('close', () => {
        this.#sockets.delete(one)
        other.destroy()
      })
    }
  }
}
