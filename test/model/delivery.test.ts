import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { Real } from './real.ts'
import { Device, type Message, Reference } from './reference.ts'

/** `MODEL_RUNS=1000 node --test test/model` looks longer; a failure prints how to repeat it. */
const RUNS = Number(process.env.MODEL_RUNS ?? 15)
const MAX_COMMANDS = Number(process.env.MODEL_COMMANDS ?? 30)

const ACCOUNTS = ['juliet', 'romeo']
const RESOURCES = ['phone', 'desk']

type State = { readonly reference: Reference }
type Command = fc.AsyncCommand<State, Real>

let lastMessage = 0

/** A command for one device: what has to be true of it, and what is done to both. */
function command(
  name: string,
  index: number,
  mayRun: (device: Device) => boolean,
  run: (device: Device, reference: Reference, real: Real) => Promise<void>,
): Command {
  const of = ({ reference }: State) => reference.devices[index] as Device
  return {
    check: (state) => mayRun(of(state)),
    async run(state, real) {
      await run(of(state), state.reference, real)
      await compare(state.reference, real)
    },
    toString: () => `${DEVICE_NAMES[index]} ${name}`,
  }
}

async function compare({ devices }: Reference, real: Real): Promise<void> {
  for (const device of devices) {
    if (device.state !== 'connected') continue
    const shown = await real.shown(device, device.shown.length)
    assert.deepEqual(shown, device.shown, device.name)
  }
}

const DEVICE_NAMES = ACCOUNTS.flatMap((account) => RESOURCES.map((name) => `${account}/${name}`))
const priorities = fc.constantFrom(undefined, -1, 0, 0, 1, 1)
const devices = fc.nat(DEVICE_NAMES.length - 1)
const isConnected = ({ state }: Device) => state === 'connected'
const isDetached = ({ state }: Device) => state === 'detached'

const commands = [
  fc.tuple(devices, priorities, fc.boolean()).map(([index, priority, wantsCopies]) =>
    command(
      `connects with priority ${priority}${wantsCopies ? ' and wants copies' : ''}`,
      index,
      () => true,
      async (device, reference, real) => {
        reference.connect(device, priority, wantsCopies)
        await real.connect(device, priority, wantsCopies)
      },
    ),
  ),
  fc.tuple(devices, priorities).map(([index, priority]) =>
    command(
      `is available with priority ${priority}`,
      index,
      isConnected,
      async (device, reference, real) => {
        reference.setPriority(device, priority)
        await real.setPriority(device, priority)
      },
    ),
  ),
  fc
    .record({
      index: devices,
      account: fc.constantFrom(...ACCOUNTS),
      resource: fc.constantFrom(undefined, undefined, ...RESOURCES),
      count: fc.integer({ min: 1, max: 3 }),
    })
    .map(({ index, account, resource, count }) =>
      command(
        `sends ${count} to ${account}/${resource ?? ''}`,
        index,
        isConnected,
        async (device, reference, real) => {
          const to = { account, resource }
          const messages = Array.from({ length: count }, (): Message => {
            return { id: `m${++lastMessage}`, from: device.account, to }
          })
          for (const message of messages) reference.send(message, device)
          await real.send(device, messages)
        },
      ),
    ),
  fc.tuple(devices, fc.integer({ min: 1, max: 4 })).map(([index, most]) =>
    command(
      `acknowledges ${most}`,
      index,
      (device) => isConnected(device) && device.queue.length > 0,
      async (device, reference, real) => {
        const count = Math.min(most, device.queue.length)
        reference.acknowledge(device, count)
        await real.acknowledge(device, count)
      },
    ),
  ),
  devices.map((index) =>
    command('is cut off', index, isConnected, async (device, reference, real) => {
      await real.detach(device)
      reference.detach(device)
    }),
  ),
  fc.tuple(devices, fc.nat(2)).map(([index, most]) =>
    command(
      `resumes without the last ${most}`,
      index,
      isDetached,
      async (device, reference, real) => {
        // What came meanwhile it has not got, either.
        const got = real.got(device)
        const known = Math.max(0, got - device.acknowledged.length)
        const lost = Math.min(most, known)
        reference.resume(device, device.queue.length - known + lost)
        await real.resume(device, lost)
      },
    ),
  ),
  devices.map((index) =>
    command(
      'ends',
      index,
      ({ hasSession }) => hasSession,
      async (device, reference, real) => {
        await real.end(device)
        reference.end(device)
      },
    ),
  ),
  fc.constant<Command>({
    check: () => true,
    async run({ reference }, real) {
      await real.restart()
      const order = ACCOUNTS.flatMap((account) =>
        real
          .resources(account)
          .map((name) =>
            reference.devices.find((one) => one.account === account && one.resource === name),
          ),
      )
      reference.restart(order.filter((device) => device !== undefined))
      await compare(reference, real)
    },
    toString: () => 'the server restarts',
  }),
]

test('messages go where they should, in order, once, whatever clients do', async () => {
  await fc.assert(
    fc.asyncProperty(
      fc.commands(commands, { maxCommands: MAX_COMMANDS, size: 'max' }),
      async (all) => {
        await using real = await Real.start(ACCOUNTS)
        const reference = new Reference(
          ACCOUNTS.flatMap((account) => RESOURCES.map((name) => new Device(account, name))),
        )
        await fc.asyncModelRun(() => ({ model: { reference }, real }), all)

        // Whoever comes last gets what is left, and the archives have everything once.
        for (const device of reference.devices) {
          if (device.hasSession) {
            await real.end(device)
            reference.end(device)
          }
        }
        for (const account of ACCOUNTS) {
          const last = reference.devices.find((device) => device.account === account) as Device
          reference.connect(last, 0)
          await real.connect(last, 0)
          await compare(reference, real)
          const own = reference.sent.filter(
            ({ from, to }) => from === account || to.account === account,
          )
          assert.deepEqual(
            await real.archived(account),
            own.map(({ id }) => id),
            `archive of ${account}`,
          )
          reference.acknowledge(last, last.queue.length)
          await real.acknowledge(last, last.acknowledged.length)
        }
      },
    ),
    { numRuns: RUNS, endOnFailure: false },
  )
})
