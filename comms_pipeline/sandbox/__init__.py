"""Stand-ins that speak the providers' real HTTP APIs, with recipients that open, click and bounce.

Never imported by the rest. Tests and `comms sandbox` use `config.SandboxConfig` and `app.create_sandbox`.
"""
