/**
 * The commands of XEP-0133 about who communicates with the service (§4.11, §4.12), who administers it
 * (§4.29), and its end (§4.30, §4.31).
 */
import type { AdhocStage } from '../../core/adhoc.ts'
import type { Field } from '../../xmpp/data-form.ts'
import type { Giver } from './offer.ts'
import { asks, DONE, nodeOf, type Offered, read } from './service-form.ts'

type List = {
  readonly node: string
  readonly title: string
  readonly field: Field & { readonly var: string }
  /** Addresses as text. */
  all(): Promise<readonly string[]>
  add(address: string): Promise<unknown>
  remove(address: string): Promise<unknown>
}

/** A form with all of a list; what it comes back with takes its place. */
function listCommand({ node, title, field, all, add, remove }: List): Offered {
  return {
    node: nodeOf(node),
    name: `Edit ${title}`,
    begin: async (): Promise<AdhocStage> => {
      const filled: Field = { ...field, type: 'jid-multi', value: await all() }
      return asks(`Editing the ${title}`, [filled], async (given) => {
        const wanted = new Set((read(() => given.jids(field.var)) ?? []).map(({ full }) => full))
        const before = await all()
        for (const address of wanted) if (!before.includes(address)) await add(address)
        for (const address of before) if (!wanted.has(address)) await remove(address)
        return DONE
      })()
    },
  }
}

export function accessCommand(giver: Giver, list: 'blacklist' | 'whitelist'): Offered {
  return listCommand({
    node: `edit-${list}`,
    title: list === 'blacklist' ? 'Blacklist' : 'Whitelist',
    field: { var: `${list}jids`, label: `The ${list}` },
    all: async () =>
      ((await giver(`${list} list`, {})) as { readonly addresses: readonly string[] }).addresses,
    add: (address) => giver(`${list} add`, { address }),
    remove: (address) => giver(`${list} remove`, { address }),
  })
}

type Admins = { readonly admins: readonly { readonly jid: string }[] }

export function adminsCommand(giver: Giver): Offered {
  return listCommand({
    node: 'edit-admin',
    title: 'Admin List',
    field: { var: 'adminjids', label: 'The admin list' },
    all: async () => ((await giver('admin list', {})) as Admins).admins.map(({ jid }) => jid),
    add: (jid) => giver('admin add', { jid }),
    remove: (jid) => giver('admin remove', { jid }),
  })
}

const DELAYS = {
  '30': '30 seconds',
  '60': '60 seconds',
  '90': '90 seconds',
  '120': '2 minutes',
  '180': '3 minutes',
  '240': '4 minutes',
  '300': '5 minutes',
} as const
const SECONDS = Object.keys(DELAYS) as (keyof typeof DELAYS)[]

export function endCommand(giver: Giver, command: 'restart' | 'shutdown'): Offered {
  const [name, title, verb] =
    command === 'restart'
      ? ['Restart Service', 'Restarting the Service', 'restarting']
      : ['Shut Down Service', 'Shutting Down the Service', 'shutting down']
  const fields: Field[] = [
    {
      var: 'delay',
      type: 'list-single',
      label: `Time delay before ${verb}`,
      value: '30',
      options: Object.entries(DELAYS).map(([value, label]) => ({ value, label })),
    },
    { var: 'announcement', type: 'text-multi', label: 'Announcement' },
  ]
  return {
    node: nodeOf(command),
    name,
    begin: asks(title, fields, async (given) => {
      const seconds = read(() => given.choice('delay', SECONDS)) ?? '30'
      const announcement = read(() => given.lines('announcement')) || undefined
      await giver(command, { delay: `${seconds}s`, ...(announcement && { announcement }) })
      return DONE
    }),
  }
}
