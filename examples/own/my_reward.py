"""A reward of one's own: a function of prompts and responses, higher is better."""


def brevity(prompts: list[str], responses: list[str]) -> list[float]:
    """Fewer words are better: `ppo.rewards.concise=my_reward:brevity`."""
    return [-float(len(response.split())) for response in responses]
