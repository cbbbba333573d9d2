import { z } from 'zod'
import { counted, table } from '../../core/command-text.ts'
import type { Component } from '../../core/components.ts'
import { StreamError } from '../../xmpp/stream-error.ts'
import { type Command, CommandError, defineCommand } from '../command.ts'

export interface AdminComponents {
  readonly connections: Iterable<Component>
}

const listComponents = defineCommand({
  name: 'component list',
  description: 'List the external components that are connected',
  permission: 'server:read',
  needsServer: true,
  args: z.strictObject({}),
  positional: [],
  examples: [''],
  result: z.strictObject({
    components: z.array(
      z.strictObject({
        id: z.string(),
        domains: z.array(z.string()),
        hidden: z.boolean().describe('Service discovery does not tell of it.'),
        node: z.string().describe('Which node has its connection.'),
        here: z.boolean().describe('That is this one.'),
      }),
    ),
  }),
  text: ({ components }) =>
    table(components.map(({ id, domains, node }) => [id, domains.join(' '), node])) ||
    'no components',
  async run({ components, node }) {
    const listed = Array.from(components.connections, (component) => ({
      id: component.id,
      domains: [...component.domains],
      hidden: component.isHidden,
      node: component.clusterNode ?? node,
      here: component.isLocal,
    }))
    return { components: listed }
  },
})

const kickComponent = defineCommand({
  name: 'component kick',
  description: 'Close the connections of a component; it may connect again',
  permission: 'server:write',
  needsServer: true,
  args: z.strictObject({
    service: z.string().min(1).describe('Its domain, or the id of one connection.'),
  }),
  positional: ['service'],
  examples: ['irc.example.com'],
  result: z.strictObject({ kicked: z.array(z.string()).describe('Ids of connections.') }),
  text: ({ kicked }) => `${counted(kicked.length, 'connection')} closed`,
  async run({ components }, { service }) {
    const meant = [...components.connections].filter(
      ({ id, domains }) => id === service || domains.includes(service),
    )
    if (meant.length === 0) throw new CommandError('not-found', `${service} is not connected`)
    await Promise.all(meant.map((component) => component.close(new StreamError('reset'))))
    return { kicked: meant.map(({ id }) => id) }
  },
})

export const componentCommands: readonly Command[] = [listComponents, kickComponent]
