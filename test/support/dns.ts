import { createSocket, type RemoteInfo, type Socket } from 'node:dgram'
import { once } from 'node:events'
import { isIPv4 } from 'node:net'

export type Srv = {
  readonly priority?: number
  readonly weight?: number
  readonly port: number
  /** '' is the root: there is no such service. */
  readonly target: string
}

const TYPE = { A: 1, AAAA: 28, SRV: 33 } as const
const NO_ERROR = 0
const SERVER_FAILURE = 2
const NO_SUCH_NAME = 3

/** A DNS server of the tests' own, on a port of 127.0.0.1. Names are lower-case, without final dot. */
export class DnsServer implements AsyncDisposable {
  readonly #socket: Socket
  readonly #services = new Map<string, readonly Srv[]>()
  readonly #addresses = new Map<string, readonly string[]>()
  readonly #broken = new Set<string>()
  #late: RegExp | undefined
  /** By what was asked, which may be asked again. */
  readonly #waiting = new Map<string, () => void>()
  /** Different questions that waited at the same time. */
  mostWaiting = 0
  /** The names that were asked for. */
  readonly asked: string[] = []

  private constructor(socket: Socket) {
    this.#socket = socket
    socket.on('message', (query, from) => this.#take(query, from))
  }

  static async start(): Promise<DnsServer> {
    const socket = createSocket('udp4')
    socket.bind(0, '127.0.0.1')
    await once(socket, 'listening')
    return new DnsServer(socket)
  }

  /** As in the settings of a server. */
  get address(): string {
    return `127.0.0.1:${this.#socket.address().port}`
  }

  /** `name` such as `_xmpp-server._tcp.example.org`. */
  services(name: string, ...records: readonly Srv[]): void {
    this.#services.set(name, records)
  }

  addresses(name: string, ...addresses: readonly string[]): void {
    this.#addresses.set(name, addresses)
  }

  /** Questions about that name are not answered as they should be. */
  breaks(name: string): void {
    this.#broken.add(name)
  }

  /** Questions about such names wait. */
  answersLater(names = /./): void {
    this.#late = names
  }

  /** Also those that wait. */
  answersAtOnce(): void {
    this.#late = undefined
    for (const answer of this.#waiting.values()) answer()
    this.#waiting.clear()
  }

  /** Questions that wait. */
  get waiting(): number {
    return this.#waiting.size
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#socket.close()
    await once(this.#socket, 'close')
  }

  #take(query: Buffer, from: RemoteInfo): void {
    const { name, end } = readName(query, 12)
    if (this.#late?.test(name) !== true) return this.#answer(query, from)
    this.#waiting.set(`${name} ${query.readUInt16BE(end)}`, () => this.#answer(query, from))
    this.mostWaiting = Math.max(this.mostWaiting, this.#waiting.size)
  }

  #answer(query: Buffer, from: RemoteInfo): void {
    const { name, end } = readName(query, 12)
    const type = query.readUInt16BE(end)
    const question = query.subarray(12, end + 4)
    this.asked.push(name)
    const records = this.#find(name, type)
    const known = [...this.#services.keys(), ...this.#addresses.keys()]
    // Names above others are there, too.
    const isKnown = known.some((other) => other === name || other.endsWith(`.${name}`))
    const code = this.#broken.has(name) ? SERVER_FAILURE : isKnown ? NO_ERROR : NO_SUCH_NAME
    const header = Buffer.alloc(12)
    query.copy(header, 0, 0, 2)
    header.writeUInt16BE(0x8580 | code, 2)
    header.writeUInt16BE(1, 4)
    header.writeUInt16BE(records.length, 6)
    const answers = records.map((record) => Buffer.concat([recordHead(type), record]))
    this.#socket.send(Buffer.concat([header, question, ...answers]), from.port, from.address)
  }

  #find(name: string, type: number): Buffer[] {
    if (this.#broken.has(name)) return []
    if (type === TYPE.SRV) return (this.#services.get(name) ?? []).map(service)
    const all = this.#addresses.get(name) ?? []
    if (type === TYPE.A)
      return all.filter(isIPv4).map((ip) => sized(Buffer.from(ip.split('.').map(Number))))
    if (type === TYPE.AAAA) return all.filter((ip) => !isIPv4(ip)).map((ip) => sized(ipv6(ip)))
    return []
  }
}

/** A pointer to the name asked for, its type, class IN, a short life. */
function recordHead(type: number): Buffer {
  const record = Buffer.alloc(10)
  record.writeUInt16BE(0xc00c, 0)
  record.writeUInt16BE(type, 2)
  record.writeUInt16BE(1, 4)
  record.writeUInt32BE(1, 6)
  return record
}

function service({ priority = 0, weight = 0, port, target }: Srv): Buffer {
  const fixed = Buffer.alloc(6)
  fixed.writeUInt16BE(priority, 0)
  fixed.writeUInt16BE(weight, 2)
  fixed.writeUInt16BE(port, 4)
  const labels = target === '' ? [] : target.split('.')
  const name = labels.map((label) =>
    Buffer.concat([Buffer.from([label.length]), Buffer.from(label)]),
  )
  return sized(Buffer.concat([fixed, ...name, Buffer.from([0])]))
}

function sized(content: Buffer): Buffer {
  const length = Buffer.alloc(2)
  length.writeUInt16BE(content.length)
  return Buffer.concat([length, content])
}

/** Of the forms of IPv6 only `::1` and full ones. */
function ipv6(text: string): Buffer {
  const bytes = Buffer.alloc(16)
  const groups =
    text === '::1'
      ? [0, 0, 0, 0, 0, 0, 0, 1]
      : text.split(':').map((hex) => Number.parseInt(hex, 16))
  for (const [index, group] of groups.entries()) bytes.writeUInt16BE(group, index * 2)
  return bytes
}

function readName(query: Buffer, start: number): { readonly name: string; readonly end: number } {
  const labels: string[] = []
  let at = start
  for (let length = query.readUInt8(at); length > 0; length = query.readUInt8(at)) {
    labels.push(query.toString('latin1', at + 1, at + 1 + length).toLowerCase())
    at += 1 + length
  }
  return { name: labels.join('.'), end: at + 1 }
}
