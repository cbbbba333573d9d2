/** Undefined: for the account. */
export type Address = { readonly account: string; readonly resource: string | undefined }

export type Message = { readonly id: string; readonly from: string; readonly to: Address }

/** One message in the hands of several devices: it has arrived as soon as one acknowledges it. */
type Sharing = { holders: number; hasArrived: boolean }

/** What a device was sent, or will be sent when it comes back. A copy is for that device alone. */
type Entry =
  | { readonly message: Message; readonly sharing: Sharing; readonly isStored: boolean }
  | { readonly message: Message; readonly isCopyOf: 'sent' | 'received' }

/** A resource of an account, and its session while there is one. */
export class Device {
  readonly account: string
  readonly resource: string
  state: 'gone' | 'connected' | 'detached' = 'gone'
  priority: number | undefined
  /** Whether it wants copies of what the account's other devices send and receive. */
  wantsCopies = false
  /** What it has acknowledged in this session, as it is shown. */
  acknowledged: string[] = []
  /** Of what was received by others it has acknowledged a copy. */
  seen = new Set<Message>()
  queue: Entry[] = []

  constructor(account: string, resource: string) {
    this.account = account
    this.resource = resource
  }

  get name(): string {
    return `${this.account}/${this.resource}`
  }

  get hasSession(): boolean {
    return this.state !== 'gone'
  }

  /** Whether messages to the account may go there. */
  get mayReceive(): boolean {
    return this.hasSession && (this.priority ?? -1) >= 0
  }

  /** All that it has been shown in this session, as far as the server can know. */
  get shown(): string[] {
    return [...this.acknowledged, ...this.queue.map(label)]
  }
}

function label(entry: Entry): string {
  return 'isCopyOf' in entry ? `${entry.isCopyOf} ${entry.message.id}` : entry.message.id
}

/**
 * What is to become of messages between clients that use stream management: the simplest program that
 * says it. There is no time in it, no storage and no connection.
 */
export class Reference {
  readonly devices: readonly Device[]
  /** What waits for an account, in the order of sending; also what is in a device's hands and not acknowledged. */
  readonly #stored = new Map<string, Message[]>()
  /** All messages, in the order of sending. */
  readonly sent: Message[] = []
  /** Devices as their sessions began. */
  #order: Device[] = []

  constructor(devices: readonly Device[]) {
    this.devices = devices
  }

  // --- Devices come and go.

  connect(device: Device, priority: number | undefined, wantsCopies = false): void {
    if (device.hasSession) this.end(device)
    device.state = 'connected'
    device.wantsCopies = wantsCopies
    this.#order.push(device)
    this.setPriority(device, priority)
  }

  setPriority(device: Device, priority: number | undefined): void {
    const couldReceive = device.mayReceive
    device.priority = priority
    if (device.mayReceive && !couldReceive) this.#handOver(device)
  }

  detach(device: Device): void {
    device.state = 'detached'
  }

  /** The client has got all but the last `lost` of what it was sent. */
  resume(device: Device, lost: number): void {
    this.acknowledge(device, device.queue.length - lost)
    device.state = 'connected'
  }

  end(device: Device): void {
    const { account, queue } = device
    device.state = 'gone'
    device.priority = undefined
    device.queue = []
    device.acknowledged = []
    device.seen.clear()
    this.#order = this.#order.filter((other) => other !== device)
    const next = this.#mostAvailable(account)[0]
    if (next !== undefined) this.#handOver(next)
    for (const entry of queue) {
      if ('isCopyOf' in entry || entry.isStored) continue
      const { message, sharing } = entry
      sharing.holders--
      if (sharing.holders === 0 && !sharing.hasArrived) this.#deliver(message, true)
    }
  }

  /** Sessions as they are listed after a restart, of one account after the other. */
  restart(order: readonly Device[]): void {
    for (const device of order) {
      device.state = 'detached'
      // That is not kept on the disk.
      device.seen.clear()
    }
    this.#order = [...order]
  }

  // --- Messages.

  send(message: Message, sender: Device): void {
    this.sent.push(message)
    const reached = this.#deliver(message, false)
    const { account } = message.to
    for (const device of this.#of(account)) {
      if (!device.wantsCopies || device === sender || reached.includes(device)) continue
      // Who is not available gets what is stored once it is.
      if (reached.length === 0 && device.priority === undefined) continue
      device.queue.push({ message, isCopyOf: 'received' })
    }
    if (sender.account === account) return
    for (const device of this.#of(sender.account)) {
      if (device.wantsCopies && device !== sender) device.queue.push({ message, isCopyOf: 'sent' })
    }
  }

  acknowledge(device: Device, count: number): void {
    for (const entry of device.queue.splice(0, count)) {
      const { message } = entry
      device.acknowledged.push(label(entry))
      if ('isCopyOf' in entry) {
        if (entry.isCopyOf === 'received') device.seen.add(message)
        continue
      }
      entry.sharing.hasArrived = true
      if (entry.isStored) this.#remove(device.account, message)
    }
  }

  /** What waits and is in nobody's hands. */
  waiting(account: string): Message[] {
    const inHands = new Set(
      this.#of(account).flatMap(({ queue }) =>
        queue
          .filter((entry) => 'isStored' in entry && entry.isStored)
          .map(({ message }) => message),
      ),
    )
    return (this.#stored.get(account) ?? []).filter((message) => !inHands.has(message))
  }

  /** Those that got it; none: it is stored. */
  #deliver(message: Message, isRetry: boolean): readonly Device[] {
    const { account, resource } = message.to
    const addressed = this.#of(account).find((device) => device.resource === resource)
    const isThere = addressed !== undefined && !(isRetry && addressed.priority === undefined)
    const targets = isThere ? [addressed] : this.#mostAvailable(account)
    const sharing = { holders: targets.length, hasArrived: false }
    for (const { queue, seen } of targets) {
      if (seen.has(message)) sharing.hasArrived = true
      else queue.push({ message, sharing, isStored: false })
    }
    if (targets.length === 0) {
      this.#store(account, message)
    }
    return targets
  }

  /** In its place: one that a device held meanwhile stands before what was sent after it. */
  #store(account: string, message: Message): void {
    const all = [...(this.#stored.get(account) ?? []), message]
    all.sort((one, other) => this.sent.indexOf(one) - this.sent.indexOf(other))
    this.#stored.set(account, all)
  }

  #handOver({ account, queue, seen }: Device): void {
    for (const message of this.waiting(account)) {
      const sharing = { holders: 1, hasArrived: false }
      if (seen.has(message)) this.#remove(account, message)
      else queue.push({ message, sharing, isStored: true })
    }
  }

  #remove(account: string, message: Message): void {
    const left = (this.#stored.get(account) ?? []).filter((other) => other !== message)
    this.#stored.set(account, left)
  }

  #mostAvailable(account: string): Device[] {
    const able = this.#of(account).filter(({ mayReceive }) => mayReceive)
    const highest = Math.max(...able.map(({ priority = -1 }) => priority))
    return able.filter(({ priority }) => priority === highest)
  }

  #of(account: string): Device[] {
    return this.#order.filter((device) => device.account === account)
  }
}
