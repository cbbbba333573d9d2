import type { ZodObject, ZodType } from 'zod'
import type { AccountLifecycle } from './account-lifecycle.ts'
import type { Accounts } from './accounts.ts'
import type { Cluster, Topic, TopicHandler } from './cluster.ts'
import type { CommandHandler, DeclaredCommand } from './command.ts'
import type { Handler, HandlerOptions, HookName, HookPoint } from './hooks.ts'
import type { IqDispatcher, IqHandler, IqInterceptor, IqTarget } from './iq.ts'
import type { LocalRoute, LocalRoutes } from './local-routes.ts'
import type { Logger } from './log.ts'
import type { OwnedData } from './owned-data.ts'
import type { Places } from './places.ts'
import type { Router } from './router.ts'
import type { SessionOpening, StreamSession } from './session.ts'
import type { SessionManager } from './session-manager.ts'
import type { Migration, Storage } from './storage.ts'

/** Some domains are served by a module no longer: it was switched off, or the server stops. */
export type Leaving = {
  readonly isShutdown: boolean
  /** Whether a domain is one of them. */
  leaves(domain: string): boolean
}

/** The nodes, for modules. Handlers are undone with all else. */
export interface ModuleCluster
  extends Pick<
    Cluster,
    'self' | 'isShared' | 'isTakenCareOf' | 'ask' | 'tell' | 'exclusively' | 'handedOver'
  > {
  on<T extends Topic>(topic: T, handler: TopicHandler<T>): void
}

/**
 * What a module may use. All that it registers here is undone when it is unloaded, so a module
 * writes no teardown for it.
 *
 * A module is started once for each of its distinct settings; with those of single domains there may
 * be several instances at a time, each for its domains. When settings change, a new instance is
 * started, takes over in one step, and the old one is stopped once nobody uses it: what must not be
 * lost by that is kept in `lasting`.
 */
export interface ModuleContext<Config> {
  readonly config: Config
  /**
   * The settings of this module in force for a domain now, in whatever instance, or those of the file
   * for all; for what is `lasting`. `undefined` while there are none.
   */
  configFor(domain?: string): Config | undefined
  /**
   * Whether the domain goes by the settings of this instance. Hooks of domains, iq handlers and
   * features need not ask: only those of global hooks and timers.
   */
  serves(domain: string): boolean
  /** Hosted domains. */
  readonly routes: LocalRoutes
  readonly hooks: {
    on<N extends HookName>(name: N, handler: Handler<N>, options?: HandlerOptions<N>): void
    /** To run a hook of the module's own, or one it has to ask. */
    at<N extends HookName>(name: N, domainType?: string): HookPoint<N>
  }
  readonly iq: {
    on(target: IqTarget, type: 'get' | 'set', ns: string, name: string, handler: IqHandler): void
    intercept(interceptor: IqInterceptor): void
    readonly ask: IqDispatcher['ask']
    readonly request: IqDispatcher['request']
    readonly namespaces: IqDispatcher['namespaces']
  }
  /**
   * Says what the commands do that the module declares. Arguments that are accounts are of accounts that
   * are there: what is asked about others is refused before.
   */
  readonly commands: {
    on<Args extends ZodObject, Result extends ZodType>(
      command: DeclaredCommand<Args, Result>,
      handler: CommandHandler<Args, Result>,
    ): void
  }
  /** Sends a stanza on its way. */
  readonly router: Router
  readonly sessions: SessionManager
  /** Makes a session without a connection, as it was before the server stopped; not registered yet. */
  restoreSession(opening: SessionOpening): StreamSession
  readonly accounts: Accounts
  /** Creates and removes accounts with all that hangs on them. */
  readonly lifecycle: AccountLifecycle
  readonly storage: Storage
  readonly cluster: ModuleCluster
  readonly log: Logger
  readonly clock: { /** Milliseconds since the epoch. */ now(): number }
  /** In which order messages came, for all that keep some. */
  readonly places: Places
  /** Calls `work` every `ms` milliseconds; a failure is logged. */
  every(ms: number, work: () => void | Promise<void>): void
  /** Serves a domain of the module's own. */
  serve(route: LocalRoute): void
  /**
   * What all instances of the module share, and what is there still after a change of settings: state
   * of sessions, caches of what is stored, writes under way. Made by the first one that asks, released
   * when the last one has stopped. One for each module.
   */
  lasting<T>(make: () => T, release?: (state: T) => void | Promise<void>): T
  /**
   * Called once what is registered here is in force, before the server listens. A failure is one of
   * the start.
   */
  onReady(work: () => void | Promise<void>): void
  /** Called while what is registered here is in force for the last time for these domains. */
  onLeave(work: (leaving: Leaving) => void | Promise<void>): void
  /**
   * Called when what is registered here is no longer in force, and nobody is inside of it any more,
   * for what else it holds.
   */
  onStop(release: () => void | Promise<void>): void
}

/**
 * A feature: everything about it in one definition. `features` are announced by service discovery
 * on every hosted domain, `accountFeatures` on every account.
 */
export interface Module<Config = unknown> {
  readonly name: string
  /** Specifications with the version followed: `XEP-0280 1.0.1`. */
  readonly implements: readonly string[]
  readonly features?: readonly string[]
  readonly accountFeatures?: readonly string[]
  /** Settings of `[modules.NAME]`, all with defaults. */
  readonly config: ZodType<Config>
  readonly migrations?: readonly Migration[]
  /** All that it keeps of accounts: it is removed with a domain, whether the module runs or not. */
  readonly data?: readonly OwnedData[]
  /** Administration commands of its own; `start` says what they do. */
  readonly commands?: readonly DeclaredCommand[]
  start(context: ModuleContext<Config>): void | Promise<void>
  /**
   * In place of `start` where it is switched off, with the settings that its schema has by itself: keeps
   * what clients were promised while it was on, and offers nothing. Features are not announced. Without
   * this a module that is switched off does not run.
   */
  retire?(context: ModuleContext<Config>): void | Promise<void>
}

/** Gives `start` the type of the module's own configuration. */
export function defineModule<Config>(module: Module<Config>): Module<Config> {
  return module
}
