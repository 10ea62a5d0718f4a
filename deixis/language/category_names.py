"""What people call the things of COCO's categories: other names beside the category's own.

Everyday synonyms and commoner kinds, from general knowledge of English; not read off any set of phrases.
"""

OTHER_NAMES: dict[str, str] = {  # separated by commas
    "person": (
        "man, woman, boy, girl, child, kid, baby, toddler, guy, lady, gentleman, player, athlete, pitcher, batter, "
        "catcher, umpire, referee, skater, skateboarder, surfer, skier, snowboarder, rider, biker, cyclist, driver, "
        "passenger, pedestrian, worker, chef, waiter, officer, policeman, soldier, fisherman, farmer, dancer, singer, "
        "spectator, student, teacher, doctor, bride, groom"
    ),
    "bicycle": "bike, cycle, tricycle",
    "car": "automobile, sedan, suv, taxi, cab, van, jeep",
    "motorcycle": "motorbike, bike, scooter, moped, dirt bike",
    "airplane": "plane, jet, aircraft, airliner",
    "bus": "coach, double decker",
    "train": "locomotive, tram, engine",
    "truck": "lorry, pickup, pickup truck, van, fire engine",
    "boat": "ship, sailboat, canoe, kayak, ferry, yacht, raft",
    "traffic light": "stoplight, signal",
    "fire hydrant": "hydrant",
    "bench": "seat",
    "bird": "duck, goose, gull, seagull, pigeon, parrot, owl, chicken, swan",
    "cat": "kitten, kitty",
    "dog": "puppy, hound",
    "horse": "pony, foal, colt",
    "sheep": "lamb, ram, goat",
    "cow": "bull, calf, cattle, ox",
    "bear": "cub",
    "backpack": "rucksack, knapsack, bag",
    "umbrella": "parasol",
    "handbag": "purse, bag, pocketbook",
    "tie": "necktie",
    "suitcase": "luggage, baggage, bag, briefcase",
    "sports ball": "ball, soccer ball, basketball, baseball, tennis ball",
    "baseball glove": "mitt",
    "skateboard": "board",
    "surfboard": "board",
    "tennis racket": "racket, racquet",
    "wine glass": "goblet, glass of wine",
    "cup": "mug, glass, tumbler, beverage, drink",
    "bowl": "dish, container, basin, plate",
    "sandwich": "burger, toast, wrap, bun",
    "hot dog": "hotdog, sausage",
    "donut": "doughnut, pastry, bagel",
    "cake": "dessert, pie, cupcake, muffin",
    "chair": "seat, armchair, stool",
    "couch": "sofa, loveseat, settee",
    "potted plant": "plant, houseplant, flower, fern",
    "bed": "mattress, bunk bed",
    "dining table": "table, desk, counter",
    "tv": "television, monitor, screen, computer screen",
    "laptop": "notebook computer, computer",
    "mouse": "computer mouse",
    "remote": "remote control, controller",
    "cell phone": "phone, smartphone, mobile phone",
    "oven": "stove, cooker, range",
    "sink": "basin, washbasin",
    "refrigerator": "fridge, freezer",
    "vase": "urn, jar, pot",
    "teddy bear": "stuffed animal, plush toy, toy bear, toy",
    "hair drier": "hair dryer, blow dryer",
}


def names_of(category: str) -> tuple[str, ...]:
    """A category's own name first, then the others."""
    others = OTHER_NAMES.get(category)
    return (category, *(others.split(", ") if others else ()))
