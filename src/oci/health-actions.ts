/** What is done about a container that becomes unhealthy: podman's words. */
export const HEALTH_ACTIONS = ['none', 'kill', 'restart', 'stop'] as const
