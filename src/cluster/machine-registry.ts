import { once } from 'node:events'
import { connect, createServer, type Server, type Socket } from 'node:net'
import { FrameReader, writeFrame } from './machine-frames.ts'
import { type Change, type Registry, RegistryConflict } from './transport.ts'

/** What is asked of the hub; answered in order. */
type Request =
  | { readonly do: 'put'; readonly key: string; readonly value: string; readonly expected: number }
  | { readonly do: 'remove'; readonly key: string; readonly expected: number }
  | { readonly do: 'get'; readonly key: string }
  | { readonly do: 'watch' }

/** What the hub says: an answer, a change to those who watch, or that all there was is told. */
type Reply =
  | { readonly is: 'done'; readonly revision: number }
  | { readonly is: 'conflict' }
  | { readonly is: 'entry'; readonly change: Change | undefined }
  | { readonly is: 'change'; readonly change: Change }
  | { readonly is: 'seen' }

/**
 * The registry of the processes of one machine: in the memory of the process that has started them, which
 * they talk to over a Unix socket. It is gone with that process, and so are they.
 */
export class MachineHub implements AsyncDisposable {
  readonly #entries = new Map<string, Change>()
  readonly #watchers = new Set<Socket>()
  readonly #sockets = new Set<Socket>()
  readonly #server: Server
  #revision = 0

  private constructor(server: Server) {
    this.#server = server
    server.on('connection', (socket) => this.#serve(socket))
  }

  static async listen(path: string): Promise<MachineHub> {
    const server = createServer()
    const hub = new MachineHub(server)
    server.listen(path)
    await once(server, 'listening')
    return hub
  }

  get(key: string): Change | undefined {
    return this.#entries.get(key)
  }

  /** Throws RegistryConflict. */
  put(key: string, value: string, expected: number): number {
    this.#check(key, expected)
    return this.#change({ key, value, revision: ++this.#revision })
  }

  /** Likewise. */
  remove(key: string, expected: number): number {
    this.#check(key, expected)
    return this.#change({ key, value: undefined, revision: ++this.#revision })
  }

  async [Symbol.asyncDispose](): Promise<void> {
    const closed = once(this.#server, 'close')
    this.#server.close()
    for (const socket of this.#sockets) socket.destroy()
    await closed
  }

  #check(key: string, expected: number): void {
    if ((this.#entries.get(key)?.revision ?? 0) !== expected) throw new RegistryConflict(key)
  }

  #change(change: Change): number {
    if (change.value === undefined) this.#entries.delete(change.key)
    else this.#entries.set(change.key, change)
    for (const watcher of this.#watchers) say(watcher, { is: 'change', change })
    return change.revision
  }

  #serve(socket: Socket): void {
    this.#sockets.add(socket)
    const reader = new FrameReader((frame) => {
      this.#obey(JSON.parse(Buffer.from(frame, 'latin1').toString()) as Request, socket)
    })
    socket.on('data', (chunk: Buffer) => reader.push(chunk))
    socket.on('error', () => {})
    socket.on('close', () => {
      this.#sockets.delete(socket)
      this.#watchers.delete(socket)
    })
  }

  #obey(request: Request, socket: Socket): void {
    try {
      say(socket, this.#answer(request, socket))
    } catch (error) {
      if (!(error instanceof RegistryConflict)) throw error
      say(socket, { is: 'conflict' })
    }
  }

  #answer(request: Request, socket: Socket): Reply {
    switch (request.do) {
      case 'put':
        return { is: 'done', revision: this.put(request.key, request.value, request.expected) }
      case 'remove':
        return { is: 'done', revision: this.remove(request.key, request.expected) }
      case 'get':
        return { is: 'entry', change: this.#entries.get(request.key) }
      case 'watch':
        for (const change of this.#entries.values()) say(socket, { is: 'change', change })
        this.#watchers.add(socket)
        return { is: 'seen' }
    }
  }
}

function say(socket: Socket, reply: Reply): void {
  writeFrame(socket, Buffer.from(JSON.stringify(reply)).latin1Slice())
}

/** A process's view of the hub. */
export class MachineRegistry implements Registry {
  readonly #socket: Socket
  readonly #pending: ((reply: Reply) => void)[] = []
  #onChange: (change: Change) => void = () => {}
  isConnected = true

  private constructor(socket: Socket, onLost: () => void) {
    this.#socket = socket
    const reader = new FrameReader((frame) => {
      this.#hear(JSON.parse(Buffer.from(frame, 'latin1').toString()) as Reply)
    })
    socket.on('data', (chunk: Buffer) => reader.push(chunk))
    socket.on('error', () => {})
    socket.on('close', () => {
      this.isConnected = false
      onLost()
    })
  }

  /** `onLost`: the hub is gone, and with it what all processes agreed on. */
  static async connect(path: string, onLost: () => void): Promise<MachineRegistry> {
    const socket = connect(path)
    await once(socket, 'connect')
    return new MachineRegistry(socket, onLost)
  }

  put(key: string, value: string, expected: number): Promise<number> {
    return this.#change({ do: 'put', key, value, expected })
  }

  remove(key: string, expected: number): Promise<number> {
    return this.#change({ do: 'remove', key, expected })
  }

  async get(key: string): Promise<Change | undefined> {
    const reply = await this.#ask({ do: 'get', key })
    return reply.is === 'entry' ? reply.change : undefined
  }

  async watch(onChange: (change: Change) => void): Promise<void> {
    this.#onChange = onChange
    await this.#ask({ do: 'watch' })
  }

  async close(): Promise<void> {
    this.#socket.removeAllListeners('close')
    this.#socket.destroy()
  }

  async #change(request: Request & { readonly key: string }): Promise<number> {
    const reply = await this.#ask(request)
    if (reply.is !== 'done') throw new RegistryConflict(request.key)
    return reply.revision
  }

  #ask(request: Request): Promise<Reply> {
    return new Promise((resolve) => {
      this.#pending.push(resolve)
      writeFrame(this.#socket, Buffer.from(JSON.stringify(request)).latin1Slice())
    })
  }

  #hear(reply: Reply): void {
    if (reply.is === 'change') this.#onChange(reply.change)
    else this.#pending.shift()?.(reply)
  }
}
